// Every family's checkpoint, found by config.json alone, against float64.
import { assertEquals, assertLess, assertRejects } from "@std/assert";
import { moe, openBackend, openLayer, SafetensorsError, tensor } from "../../mod.ts";
import { families } from "../../src/models/families/mod.ts";
import { CheckpointLayer } from "../../src/models/checkpoint/checkpoint_layer.ts";
import { convert, type DType } from "../../src/tensor/tensor.ts";
import { relativeError } from "../fixtures.ts";
import { type Encodings, makeCheckpoint, type Published, writeCheckpoint } from "./checkpoints.ts";
import { awqOf, floatsOf, fp8Of, gptqOf, mlxOf, mxfp4Of, nvfp4Of, packedOf } from "./encodings.ts";
import { published } from "./published.ts";

/** The op's bound in bf16. With so few numbers the error varies, so a fifth more is allowed. */
const bf16Bound = 1.2 * 3e-3;

interface Run {
  readonly published: Published;
  readonly encodings: Encodings;
  readonly quantization?: Readonly<Record<string, unknown>>;
  readonly dtype?: DType;
}

/** Computes a checkpoint's layer as `yamoe run` does and returns the error against float64. */
async function errorOf({ published, encodings, quantization, dtype = "f32" }: Run): Promise<number> {
  const { tensors, hidden, output } = makeCheckpoint(published, encodings, published.name.length + 7);
  const directory = await Deno.makeTempDir();
  try {
    await writeCheckpoint(directory, published, tensors, quantization);
    using layer = await CheckpointLayer.open(directory, { layer: 1 });
    const input = tensor(Float32Array.from(hidden.values), [hidden.rows, hidden.columns]);
    const result = await moe(convert(input, dtype), await layer.read(dtype));
    return relativeError(convert(result, "f32").data, output);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

for (const family of published) {
  Deno.test(`${family.name}: f32 and bf16 weights, found by config.json alone`, async () => {
    for (const dtype of ["F32", "BF16"] as const) {
      assertLess(await errorOf({ published: family, encodings: { experts: floatsOf(dtype) } }), 2e-6, dtype);
    }
    const encodings = { experts: floatsOf("BF16") };
    assertLess(await errorOf({ published: family, encodings, dtype: "bf16" }), bf16Bound);
  });
}

const named = (name: string) => published.find((family) => family.name === name)!;
const qwen = named("qwen3_moe"), deepseek = named("deepseek_v3");

const formats: readonly (Omit<Run, "dtype"> & { readonly format: string })[] = [
  { format: "f16", published: qwen, encodings: { experts: floatsOf("F16") } },
  {
    format: "fp8 in blocks (DeepSeek-V3)",
    published: deepseek,
    encodings: { experts: fp8Of({ name: ".weight_scale_inv", block: [16, 32], dtype: "F32" }) },
    quantization: { quantization_config: { quant_method: "fp8", weight_block_size: [16, 32] } },
  },
  {
    format: "fp8 in blocks, ragged, shared expert in bf16 (Qwen3-Next)",
    published: named("qwen3_next"),
    encodings: {
      experts: fp8Of({ name: ".weight_scale_inv", block: [24, 48], dtype: "BF16" }),
      shared: floatsOf("BF16"),
    },
    quantization: { quantization_config: { weight_block_size: [24, 48] } },
  },
  {
    format: "fp8 by row (compressed-tensors)",
    published: qwen,
    encodings: { experts: fp8Of({ name: ".weight_scale", block: "row", dtype: "BF16" }) },
  },
  {
    format: "fp8 by matrix (ModelOpt)",
    published: named("mixtral"),
    encodings: { experts: fp8Of({ name: ".weight_scale", block: "tensor", dtype: "F32" }) },
  },
  {
    format: "mxfp4 pairs in I8, shared expert in fp8 (DeepSeek-V4)",
    published: named("deepseek_v4"),
    encodings: {
      experts: mxfp4Of("deepseek"),
      shared: fp8Of({ name: ".scale", block: [16, 32], dtype: "F8_E8M0" }),
    },
    quantization: { quantization_config: { scale_fmt: "ue8m0", weight_block_size: [16, 32] } },
  },
  { format: "mxfp4 (compressed-tensors)", published: qwen, encodings: { experts: mxfp4Of("compressed-tensors") } },
  {
    format: "nvfp4 (ModelOpt), shared expert in bf16",
    published: deepseek,
    encodings: { experts: nvfp4Of("modelopt"), shared: floatsOf("BF16") },
  },
  { format: "nvfp4 (compressed-tensors)", published: qwen, encodings: { experts: nvfp4Of("compressed-tensors") } },
  {
    format: "GPTQ",
    published: qwen,
    encodings: { experts: gptqOf(16) },
    quantization: { quantization_config: { bits: 4 } },
  },
  { format: "GPTQ, reordered", published: qwen, encodings: { experts: gptqOf(16, { reordered: true }) } },
  {
    format: "GPTQ, 8 bits",
    published: qwen,
    encodings: { experts: gptqOf(32, { bits: 8 }) },
    quantization: { quantization_config: { bits: 8 } },
  },
  {
    format: "AWQ",
    published: qwen,
    encodings: { experts: awqOf(16) },
    quantization: { quantization_config: { bits: 4 } },
  },
  {
    format: "int4 (compressed-tensors, Kimi K2 Thinking)",
    published: named("kimi_k2"),
    encodings: { experts: packedOf(32, 4, true), shared: floatsOf("BF16") },
  },
  {
    format: "int4 with zero points (compressed-tensors)",
    published: qwen,
    encodings: { experts: packedOf(32, 4, false) },
  },
  { format: "int8 (compressed-tensors)", published: qwen, encodings: { experts: packedOf(32, 8, true) } },
  {
    format: "MLX, router in 8 bits",
    published: { ...named("qwen3_moe"), packing: "mlx" },
    encodings: { experts: mlxOf(32), router: mlxOf(32, 8) },
    quantization: { quantization: { group_size: 32, bits: 4, "model.layers.1.mlp.gate": { group_size: 32, bits: 8 } } },
  },
];

for (const { format, ...run } of formats) {
  Deno.test(`${run.published.name} in ${format} is decoded exactly`, async () => {
    assertLess(await errorOf(run), 2e-6);
  });
}

Deno.test("every supported family of the table has a checkpoint here", () => {
  const tested = new Set(published.flatMap(({ config }) => typesIn(config)));
  const missing = families.filter(({ types, refusal }) => !refusal && !types.some((type) => tested.has(type)));
  assertEquals(missing.map(({ types }) => types[0]), []);
});

function typesIn(config: unknown): string[] {
  if (typeof config !== "object" || config === null) return [];
  return Object.entries(config).flatMap(([key, value]) => key === "model_type" ? [value as string] : typesIn(value));
}

const refused: readonly [config: Record<string, unknown>, message: string][] = [
  ...families.flatMap(({ types, refusal }) =>
    refusal
      ? types.map((
        type,
      ): [Record<string, unknown>, string] => [{ model_type: type }, `"${type}" is not supported: ${refusal}`])
      : []
  ),
  [{ model_type: "deepseek_v2", num_experts_per_tok: 2, topk_method: "best_of_all" }, "best_of_all"],
  [{ model_type: "nemotron_h", num_experts_per_tok: 2, moe_latent_size: 16 }, "latent experts"],
  [{ model_type: "step3p5", moe_top_k: 2, swiglu_limits: [0, 7] }, "clamped after the activation"],
  [
    { model_type: "dbrx", ffn_config: { moe_top_k: 2, moe_normalize_expert_weights: 2 } },
    "moe_normalize_expert_weights",
  ],
];

for (const [config, message] of refused) {
  Deno.test(`${JSON.stringify(config)} is refused, with the reason`, async () => {
    const directory = await Deno.makeTempDir();
    const { tensors } = makeCheckpoint(qwen, { experts: floatsOf("BF16") }, 1);
    await writeCheckpoint(directory, { ...qwen, config }, tensors);
    await assertRejects(() => CheckpointLayer.open(directory, { layer: 1 }), SafetensorsError, message);
    await Deno.remove(directory, { recursive: true });
  });
}

Deno.test("openLayer uploads a layer, ready for moe, and frees it", async () => {
  const { tensors, hidden, output } = makeCheckpoint(deepseek, { experts: floatsOf("BF16") }, 3);
  const directory = await Deno.makeTempDir();
  await writeCheckpoint(directory, deepseek, tensors);
  using backend = await openBackend("cpu", { threads: 1 });
  const before = backend.memory.liveBytes;
  const fractions: number[] = [];
  const layer = await openLayer(directory, {
    backend,
    layer: 1,
    dtype: "f32",
    onProgress: (done) => fractions.push(done),
  });
  assertEquals(fractions.at(-1), 1);
  {
    using x = backend.upload(tensor(Float32Array.from(hidden.values), [hidden.rows, hidden.columns]));
    using y = await backend.moe(x, layer);
    assertLess(relativeError((await backend.download(y)).data, output), 2e-6);
  }
  layer[Symbol.dispose]();
  assertEquals(backend.memory.liveBytes, before);
  await assertRejects(() => openLayer(directory, { backend, layer: 9 }), SafetensorsError, "layer 9 has no experts");
  await Deno.remove(directory, { recursive: true });
});
