// Quantized weights that stay packed have the bits of weights that are decoded when the layer is read.
import { assertEquals, assertRejects } from "@std/assert";
import {
  convert,
  type DType,
  moe,
  openBackend,
  openLayer,
  type PackedTensor,
  SafetensorsError,
  type Tensor,
  tensor,
} from "../../mod.ts";
import { CheckpointLayer } from "../../src/models/checkpoint/checkpoint_layer.ts";
import { hostTarget } from "../../src/models/checkpoint/layer_target.ts";
import { isPacked } from "../../src/tensor/packed_tensor.ts";
import { makeCheckpoint, writeCheckpoint } from "./checkpoints.ts";
import { floatsOf, nvfp4Of } from "./encodings.ts";
import { named, type StoredFormat, storedFormats } from "./stored_formats.ts";

/** Writes a checkpoint, and removes it after use. */
async function withCheckpoint(
  { published, encodings, quantization }: Omit<StoredFormat, "format">,
  use: (directory: string, hidden: Tensor) => Promise<void>,
): Promise<void> {
  const { tensors, hidden } = makeCheckpoint(published, encodings, published.name.length + 3);
  const directory = await Deno.makeTempDir();
  try {
    await writeCheckpoint(directory, published, tensors, quantization);
    await use(directory, tensor(Float32Array.from(hidden.values), [hidden.rows, hidden.columns]));
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

const all = () => true;
const formatOf = (weight: Tensor | PackedTensor) => isPacked<PackedTensor>(weight) ? weight.format.kind : undefined;

for (const stored of storedFormats) {
  const { format, kept, keptDown = kept, published } = stored;
  Deno.test(`${published.name} in ${format} ${keptDown ? "stays packed, with the same bits" : "is decoded"}`, () =>
    withCheckpoint(stored, async (directory, hidden) => {
      using layer = await CheckpointLayer.open(directory, { layer: 1 });
      for (const dtype of ["f32", "bf16"] satisfies DType[]) {
        const packed = await layer.readTo(hostTarget, { dtype, supports: all });
        assertEquals([packed.gateUpProj, packed.downProj].map(formatOf), [kept, keptDown]);
        const input = convert(hidden, dtype);
        assertEquals(await moe(input, packed), await moe(input, await layer.read(dtype)));
      }
    }));
}

Deno.test("openLayer keeps weights packed, in the memory of their format, and frees them", async () => {
  const encodings = { experts: nvfp4Of("modelopt"), shared: floatsOf("BF16") };
  await withCheckpoint({ published: named("deepseek_v3"), encodings }, async (directory) => {
    using found = await CheckpointLayer.open(directory, { layer: 1 });
    using backend = await openBackend("cpu", { threads: 1 });
    const layer = await openLayer(directory, { backend, layer: 1 });
    assertEquals(isPacked(layer.gateUpProj) && layer.gateUpProj.format, {
      ...{ kind: "nvfp4", globalScales: 2, gateUpLayout: "concatenated" },
    });
    assertEquals(backend.memory.liveBytes, found.bytes({ supports: all }));
    layer[Symbol.dispose]();
    assertEquals(backend.memory.liveBytes, 0);
  });
});

Deno.test("A scale that is not finite is refused with the name of its own tensor", async () => {
  const published = named("qwen3_moe");
  const { tensors } = makeCheckpoint(published, { experts: nvfp4Of("compressed-tensors") }, 2);
  const linear = "model.layers.1.mlp.experts.5.up_proj";
  tensors[`${linear}.weight_scale`]!.bytes[3] = 127;
  const directory = await Deno.makeTempDir();
  await writeCheckpoint(directory, published, tensors);
  using layer = await CheckpointLayer.open(directory, { layer: 1 });
  await assertRejects(
    () => layer.readTo(hostTarget, { supports: all }),
    SafetensorsError,
    `Cannot keep tensor "${linear}.weight_packed" in nvfp4: scales must be finite, got the bits 127 at element 3`,
  );
  await Deno.remove(directory, { recursive: true });
});

Deno.test("Each weight of a layer keeps its own format", async () => {
  const published = named("qwen3_moe");
  const dense = makeCheckpoint(published, { experts: floatsOf("BF16") }, 1).tensors;
  const quantized = makeCheckpoint(published, { experts: nvfp4Of("compressed-tensors") }, 2).tensors;
  const isDown = (name: string) => name.includes("down_proj");
  const tensors = Object.fromEntries([
    ...Object.entries(quantized).filter(([name]) => !isDown(name)),
    ...Object.entries(dense).filter(([name]) => isDown(name)),
  ]);
  const directory = await Deno.makeTempDir();
  await writeCheckpoint(directory, published, tensors);
  using layer = await CheckpointLayer.open(directory, { layer: 1 });
  const packed = await layer.readTo(hostTarget, { supports: all });
  assertEquals([packed.gateUpProj, packed.downProj].map(formatOf), ["nvfp4", undefined]);
  await Deno.remove(directory, { recursive: true });
});

Deno.test("readExpert() decodes the weights of one expert", async () => {
  for (const stored of storedFormats) {
    await withCheckpoint(stored, async (directory) => {
      using layer = await CheckpointLayer.open(directory, { layer: 1 });
      const whole = await layer.read("f32");
      for (const name of ["gateUpProj", "downProj"] as const) {
        const { data, shape } = whole[name], size = data.length / (shape[0] ?? 1);
        const one = await layer.readExpert(name, 3, "f32");
        assertEquals(one.shape, [1, ...shape.slice(1)]);
        assertEquals(one.data, data.subarray(3 * size, 4 * size));
      }
    });
  }
});
