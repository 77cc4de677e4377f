// Every format that the loader reads.
import { quantizationOf } from "./unsupported.ts";
import { dense } from "./dense.ts";
import { fp4 } from "./fp4.ts";
import { fp8 } from "./fp8.ts";
import { mlx, packed, qweight } from "./integers.ts";
import { type Format, type Quantization, type StoredWeight, tensorError, type TensorSource } from "./stored_weight.ts";

/** The quantized formats, in the order in which they are tried. Dense comes last: its name is also part of their names. */
const quantized: readonly Format[] = [qweight, packed, mlx, fp4, fp8];

/** What the name of a linear layer's first tensor ends with, in any format. */
export const weightSuffixes = [".weight", "", ".qweight", ".weight_packed", "_blocks"] as const;

/** Returns whether a linear layer has a weight in any format that the loader reads. */
export function hasWeight(source: { has(name: string): boolean }, linear: string): boolean {
  return weightSuffixes.some((suffix) => source.has(linear + suffix));
}

/**
 * Opens the weight of a linear layer.
 *
 * @param source The checkpoint.
 * @param linear The name of the linear layer, without `.weight`.
 * @param quantization What config.json says about quantization.
 * @throws {SafetensorsError} If the weight is missing, malformed, or in a format that is not supported.
 */
export async function openWeight(
  source: TensorSource,
  linear: string,
  quantization: Quantization,
): Promise<StoredWeight> {
  for (const format of quantized) {
    const opening = format(source, linear, quantization), found = opening && await opening;
    if (found) return found;
  }
  const unsupported = quantizationOf(source, linear);
  if (unsupported !== undefined) {
    throw tensorError(source, `${linear}.weight`, `has a quantization that is not supported (${unsupported})`);
  }
  const found = await dense(source, linear, quantization);
  if (found) return found;
  throw tensorError(source, `${linear}.weight`, "is missing");
}
