// Quantization formats that the loader recognizes by the names of their tensors, and does not read.

/** The suffixes that identify a format after the name of a linear layer. The first that is present counts. */
const formats: readonly (readonly [suffix: string, format: string])[] = [
  [".g_idx", "GPTQ"],
  [".qweight", "AWQ"],
  [".weight_global_scale", "compressed-tensors NVFP4"],
  [".weight_packed", "compressed-tensors int4 or MXFP4"],
  [".weight_scale_2", "ModelOpt NVFP4"],
  [".weight.absmax", "bitsandbytes"],
  [".weight.SCB", "bitsandbytes"],
  [".SCB", "bitsandbytes"],
  [".W_q", "HQQ"],
  [".q_weight", "EXL2"],
  [".trellis", "EXL3"],
  [".codebooks", "AQLM"],
  [".weight._data", "Quanto"],
  ["._weight_qdata", "torchao"],
  [".weight_qdata", "torchao"],
  [".biases", "MLX"],
  [".weight_scale", "compressed-tensors, ModelOpt or Quark, with .weight_scale"],
];

const suffixes = formats.map(([suffix]) => suffix.replaceAll(".", "\\.")).join("|");

/** A quantized down projection: what comes before `experts`, and the layer's name. MLX has one tensor for all experts. */
export const quantizedDownProjection = new RegExp(
  `^((?:.*\\.)?)(experts\\.(?:\\d+\\.)?(?:down_proj|w2)(?=(?:${suffixes})$)|switch_mlp\\.down_proj(?=\\.weight$))`,
);

/**
 * Finds the quantization format of a linear layer.
 *
 * @param checkpoint The names of all tensors.
 * @param layer The name of the linear layer, without `.weight`.
 * @returns The format, or undefined if the layer is not quantized in a known format.
 */
export function quantizationOf(checkpoint: { has(name: string): boolean }, layer: string): string | undefined {
  return formats.find(([suffix]) => checkpoint.has(layer + suffix))?.[1];
}
