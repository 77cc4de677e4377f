// Checkpoints of several families with quantized weights.
import type { PackedFormat } from "../../mod.ts";
import type { Encodings, Published } from "./checkpoints.ts";
import { awqOf, type Encoding, floatsOf, fp8Of, gptqOf, mlxOf, mxfp4Of, nvfp4Of, packedOf } from "./encodings.ts";
import { published } from "./published.ts";

export const named = (name: string) => published.find((family) => family.name === name)!;
const qwen = named("qwen3_moe"), deepseek = named("deepseek_v3");

/** Stores a tensor of a weight in the shape [a, 1, b, 1] instead of [a, b]. */
const reshaped = (encoding: Encoding, name: string): Encoding => (...sizes) => {
  const { tensors, ...rest } = encoding(...sizes), raw = tensors[name]!;
  return { ...rest, tensors: { ...tensors, [name]: { ...raw, shape: raw.shape.flatMap((size) => [size, 1]) } } };
};

/** A checkpoint in a format. */
export interface StoredFormat {
  readonly format: string;
  readonly published: Published;
  readonly encodings: Encodings;
  readonly quantization?: Readonly<Record<string, unknown>>;
  /** The packed format that the experts' weights keep; absent if they are decoded. */
  readonly kept?: PackedFormat["kind"];
  /** That of the down projections, if it differs. */
  readonly keptDown?: PackedFormat["kind"];
}

/** Checkpoints in every format. */
export const storedFormats: readonly StoredFormat[] = [
  { format: "f16", published: qwen, encodings: { experts: floatsOf("F16") } },
  {
    format: "fp8 in blocks (DeepSeek-V3)",
    kept: "fp8",
    published: deepseek,
    encodings: { experts: fp8Of({ name: ".weight_scale_inv", block: [16, 32], dtype: "F32" }) },
    quantization: { quantization_config: { quant_method: "fp8", weight_block_size: [16, 32] } },
  },
  {
    format: "fp8 in blocks, ragged, shared expert in bf16 (Qwen3-Next)",
    kept: "fp8",
    published: named("qwen3_next"),
    encodings: {
      experts: fp8Of({ name: ".weight_scale_inv", block: [24, 48], dtype: "BF16" }),
      shared: floatsOf("BF16"),
    },
    quantization: { quantization_config: { weight_block_size: [24, 48] } },
  },
  {
    format: "fp8 by row (compressed-tensors)",
    kept: "fp8",
    published: qwen,
    encodings: { experts: fp8Of({ name: ".weight_scale", block: "row", dtype: "BF16" }) },
  },
  {
    format: "fp8 by matrix (ModelOpt)",
    kept: "fp8",
    published: named("mixtral"),
    encodings: { experts: fp8Of({ name: ".weight_scale", block: "tensor", dtype: "F32" }) },
  },
  {
    format: "fp8 in blocks, scales of four dimensions (ModelOpt)",
    kept: "fp8",
    published: qwen,
    encodings: { experts: reshaped(fp8Of({ name: ".weight_scale", block: [16, 32], dtype: "F32" }), ".weight_scale") },
    quantization: { quantization_config: { quant_method: "modelopt", weight_block_size: [16, 32] } },
  },
  {
    format: "fp8 in groups of a row whose size config.json does not have (MXFP8)",
    kept: "fp8",
    published: qwen,
    encodings: { experts: fp8Of({ name: ".weight_scale", block: [1, 16], dtype: "U8" }) },
    quantization: { quantization_config: { quant_method: "modelopt", quant_algo: "MXFP8" } },
  },
  {
    format: "mxfp4 pairs in I8, shared expert in fp8 (DeepSeek-V4)",
    kept: "mxfp4",
    published: named("deepseek_v4"),
    encodings: {
      experts: mxfp4Of("deepseek"),
      shared: fp8Of({ name: ".scale", block: [16, 32], dtype: "F8_E8M0" }),
    },
    quantization: { quantization_config: { scale_fmt: "ue8m0", weight_block_size: [16, 32] } },
  },
  {
    format: "mxfp4 (compressed-tensors)",
    kept: "mxfp4",
    published: qwen,
    encodings: { experts: mxfp4Of("compressed-tensors") },
  },
  {
    format: "nvfp4 (ModelOpt), shared expert in bf16",
    kept: "nvfp4",
    published: deepseek,
    encodings: { experts: nvfp4Of("modelopt"), shared: floatsOf("BF16") },
  },
  {
    format: "nvfp4 (compressed-tensors)",
    kept: "nvfp4",
    published: qwen,
    encodings: { experts: nvfp4Of("compressed-tensors") },
  },
  {
    format: "GPTQ",
    published: qwen,
    encodings: { experts: gptqOf(16) },
    quantization: { quantization_config: { bits: 4 } },
  },
  {
    format: "GPTQ of 32",
    kept: "int4",
    published: qwen,
    encodings: { experts: gptqOf(32) },
    quantization: { quantization_config: { bits: 4 } },
  },
  { format: "AWQ of 32", kept: "int4", published: qwen, encodings: { experts: awqOf(32) } },
  {
    format: "GPTQ of 32, reordered",
    keptDown: "int4", // one group
    published: qwen,
    encodings: { experts: gptqOf(32, { reordered: true }) },
  },
  { format: "GPTQ, reordered", published: qwen, encodings: { experts: gptqOf(16, { reordered: true }) } },
  {
    format: "GPTQ, 8 bits",
    published: qwen,
    encodings: { experts: gptqOf(32, { bits: 8 }) },
    quantization: { quantization_config: { bits: 8 } },
  },
  {
    format: "GPTQ, 8 bits in a model of 4",
    published: qwen,
    encodings: { experts: gptqOf(32, { bits: 8 }) },
    quantization: { quantization_config: { bits: 4, dynamic: { "+:.*experts.*": { bits: 8 } } } },
  },
  {
    format: "AWQ",
    published: qwen,
    encodings: { experts: awqOf(16) },
    quantization: { quantization_config: { bits: 4 } },
  },
  {
    format: "int4 (compressed-tensors, Kimi K2 Thinking)",
    kept: "int4",
    published: named("kimi_k2"),
    encodings: { experts: packedOf(32, 4, true), shared: floatsOf("BF16") },
  },
  {
    format: "int4 with zero points (compressed-tensors)",
    kept: "int4",
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
  ...[3, 5, 6].map((bits): StoredFormat => ({
    format: `MLX, ${bits} bits`,
    published: { ...named("qwen3_moe"), packing: "mlx" },
    encodings: { experts: mlxOf(32, bits) },
    quantization: { quantization: { group_size: 32, bits } },
  })),
  {
    format: "MLX, mxfp4",
    kept: "mxfp4",
    published: named("gpt_oss, MLX"),
    encodings: { experts: mxfp4Of("mlx") },
    quantization: { quantization: { group_size: 32, bits: 4, mode: "mxfp4" } },
  },
  {
    format: "MLX, nvfp4",
    kept: "nvfp4",
    published: named("gpt_oss, MLX"),
    encodings: { experts: nvfp4Of("mlx") },
    quantization: { quantization: { group_size: 16, bits: 4, mode: "nvfp4" } },
  },
  {
    format: "MLX, mxfp8",
    kept: "fp8",
    published: named("gpt_oss, MLX"),
    encodings: { experts: fp8Of({ name: ".scales", block: [1, 32], dtype: "U8", words: true }) },
    quantization: { quantization: { group_size: 32, bits: 8, mode: "mxfp8" } },
  },
];
