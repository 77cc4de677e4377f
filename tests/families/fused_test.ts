// Experts in one tensor, as ModelOpt writes them: the scales follow the parameter's name.
import { assertEquals, assertLess } from "@std/assert";
import { moe, tensor } from "../../mod.ts";
import { CheckpointLayer } from "../../src/models/checkpoint/checkpoint_layer.ts";
import { hostTarget } from "../../src/models/checkpoint/layer_target.ts";
import { relativeError } from "../fixtures.ts";
import { type Encodings, makeCheckpoint, type Published, writeCheckpoint } from "./checkpoints.ts";
import { type Encoding, floatsOf, floatTensor, fp8Of, nvfp4Of } from "./encodings.ts";
import { named } from "./stored_formats.ts";

/** The scale of all experts. */
const factor = 0.375;

/** NVFP4 without the scale of a matrix. */
const nvfp4: Encoding = (random, rows, columns) => {
  const { values, tensors } = nvfp4Of("mlx")(random, rows, columns);
  return {
    ...{ rows, columns, values: values.map((value) => value * factor) },
    tensors: {
      ".weight": { ...tensors[".weight"]!, dtype: "U8", shape: [rows, columns / 2] },
      "_weight_scale": { ...tensors[".scales"]!, dtype: "F8_E4M3" },
    },
  };
};

/** FP8 without scales. */
const fp8: Encoding = (random, rows, columns) => {
  const { values, tensors } = fp8Of({ name: "own", block: "tensor", dtype: "F32" })(random, rows, columns);
  const own = new Float32Array(tensors["own"]!.bytes.buffer)[0]!;
  return {
    ...{ rows, columns, values: values.map((value) => value / own * factor) },
    tensors: { ".weight": tensors[".weight"]! },
  };
};

const llama = named("llama4"), gptOss = named("gpt_oss");
const cases: readonly (readonly [string, Published, Encodings, scale: string, kept: string | undefined])[] = [
  ["nvfp4, [in / 2, out]", llama, { experts: nvfp4, shared: floatsOf("BF16") }, "_weight_scale_2", "nvfp4"],
  ["nvfp4, [out, in / 2]", { ...gptOss, packing: "gpt-oss-mxfp4" }, { experts: nvfp4 }, "_weight_scale_2", "nvfp4"],
  ["fp8, [in, out]", llama, { experts: fp8, shared: floatsOf("BF16") }, "_weight_scale", undefined],
];

for (const [format, published, encodings, scale, kept] of cases) {
  Deno.test(`${published.name}: experts in one tensor in ${format}`, async () => {
    const { tensors, hidden, output } = makeCheckpoint(published, encodings, 11);
    for (const name of ["gate_up_proj", "down_proj"]) {
      const { raw } = floatTensor("F32", [factor], []);
      const linear = `${published.base}experts.${name}`;
      Object.assign(tensors, { [linear + scale]: raw, [`${linear}_input_scale`]: raw });
    }
    const directory = await Deno.makeTempDir();
    try {
      await writeCheckpoint(directory, published, tensors);
      using layer = await CheckpointLayer.open(directory, { layer: 1 });
      const weights = await layer.readTo(hostTarget, { dtype: "f32", supports: () => true });
      const { gateUpProj, downProj } = weights;
      assertEquals([gateUpProj, downProj].map((w) => "format" in w ? w.format.kind : undefined), [kept, kept]);
      const input = tensor(Float32Array.from(hidden.values), [hidden.rows, hidden.columns]);
      const result = await moe(input, weights);
      assertEquals(result, await moe(input, await layer.read("f32")));
      assertLess(relativeError(result.data, output), 1e-6);
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  });
}
