// Layers in the checkpoints of several families, against PyTorch's output: see make_layers.py.
import { assertEquals, assertLess } from "@std/assert";
import { convert, moe, type PackedFormat, type PackedTensor, Safetensors } from "../../mod.ts";
import { CheckpointLayer } from "../../src/models/checkpoint/checkpoint_layer.ts";
import { hostTarget } from "../../src/models/checkpoint/layer_target.ts";
import { isPacked } from "../../src/tensor/packed_tensor.ts";
import { relativeError } from "../fixtures.ts";

const directory = new URL("../../fixtures/layers/", import.meta.url).pathname;

/** The layers whose weights stay packed. */
const kept = { "deepseek-v3-fp8": "fp8", "gpt-oss-mxfp4": "mxfp4", "qwen3-moe-fp8": "fp8" } as const;

/** The largest error for each dtype: the bound of the op, plus a fifth because the error of few numbers varies. */
const bounds: Readonly<Record<string, number>> = { f32: 5e-6, f16: 1.2 * 3.7e-4, bf16: 1.2 * 3e-3 };

async function floats(path: string): Promise<{ dtype: string; shape: readonly number[]; values: ArrayLike<number> }> {
  using file = await Safetensors.open(path);
  const [name] = file.tensors.keys();
  const { dtype, shape } = file.describe(name!);
  return { dtype, shape, values: convert(await file.read(name!), "f32").data };
}

for (const { name } of Deno.readDirSync(directory)) {
  Deno.test(`yamoe run gives PyTorch's output for the layer ${name}`, async () => {
    const output = await Deno.makeTempFile();
    const flags = (await Deno.readTextFile(`${directory}${name}/flags.txt`)).trim().split(" ").filter(Boolean);
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "--no-prompt", "--allow-read", "--allow-write", new URL("../../cli.ts", import.meta.url).pathname],
        ...["run", "--weights", `${directory}${name}`, "--input", `${directory}${name}/input.safetensors`],
        ...["--output", output, "--threads", "1", "--json", ...flags],
      ],
      env: { NO_COLOR: "1" },
    }).output();
    assertEquals(code, 0, new TextDecoder().decode(stderr));
    const { dtype, formats } = JSON.parse(new TextDecoder().decode(stdout));
    assertEquals(formats, new Map<string, string>(Object.entries(kept)).get(name) ?? dtype);
    const [input, actual, expected] = await Promise.all(
      [`${directory}${name}/input.safetensors`, output, `${directory}${name}/expected.safetensors`].map(floats),
    );
    assertEquals([actual!.dtype, actual!.shape], [input!.dtype, input!.shape]);
    assertLess(relativeError(actual!.values, expected!.values), bounds[dtype]!);
    await Deno.remove(output);
  });
}

for (const [name, kind] of Object.entries<PackedFormat["kind"]>(kept)) {
  Deno.test(`The layer ${name} has the same bits with weights in ${kind} and with decoded weights`, async () => {
    using layer = await CheckpointLayer.open(`${directory}${name}`, { topK: 2 });
    const packed = await layer.readTo(hostTarget, {
      ...{ dtype: "bf16", supports: () => true },
    });
    for (const weight of [packed.gateUpProj, packed.downProj]) {
      assertEquals(isPacked<PackedTensor>(weight) && weight.format.kind, kind);
    }
    using file = await Safetensors.open(`${directory}${name}/input.safetensors`);
    const input = await file.read([...file.tensors.keys()][0] ?? "");
    const hidden = convert({
      ...input,
      shape: [input.data.length / layer.shape.routed.hidden, layer.shape.routed.hidden],
    }, "bf16");
    assertEquals(await moe(hidden, packed), await moe(hidden, await layer.read("bf16")));
  });
}
