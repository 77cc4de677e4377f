// Quantization formats that the loader recognizes by the names of their tensors, and does not read.

/** The suffixes that identify a format after the name of a linear layer. The first that is present counts. */
const formats: readonly (readonly [suffix: string, format: string])[] = [
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
];

/** The suffixes of all these formats. */
export const unsupportedSuffixes: readonly string[] = formats.map(([suffix]) => suffix);

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
