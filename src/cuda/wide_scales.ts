// Scales that Hopper's kernels for packed weights cannot read.
import type { PackedTensor } from "../tensor/packed_tensor.ts";
import { areBf16Within, areWithin } from "../tensor/scan.ts";
import type { Tensor, TensorData } from "../tensor/tensor.ts";

/** The largest E8M0 scale: weights up to 12. */
const largestE8m0 = 128;

/** The range of bf16 scales of integers, 2^-114 to 2^7, as bits: see cuda/packed_int4.cuh. */
const [smallestInt4, int4Limit] = [127 - 114 << 7, 127 + 7 << 7];

/** The range of the scales of FP8, 2^-64 to 2^7, as biased exponents: see cuda/packed_fp8.cuh. */
const [smallestFp8, fp8Limit] = [127 - 64, 127 + 7];

/** The range of the products of both scales of NVFP4: see cuda/packed_nvfp4.cuh. */
const [smallest, limit] = [2 ** -118, 2];

/** The smallest positive number of E4M3, and the largest. */
const [smallestE4m3, largestE4m3] = [2 ** -9, 448];

/**
 * Returns whether some scales of a weight are outside the range of the kernels that read blocks: see the formats' files in cuda/.
 */
export function hasWideScales({ format, parts: { scales, globalScales } }: PackedTensor): boolean {
  switch (format.kind) {
    case "mxfp4":
      return !areWithin(scales.data, 0, largestE8m0);
    case "int4":
      return format.scale === "bf16" && !areBf16Within(scales.data, smallestInt4, int4Limit);
    case "nvfp4": {
      const globals = globalScales?.data ?? new Float32Array(), count = scales.data.length / globals.length;
      return globals.some((global: number, i: number) => {
        const magnitude = Math.abs(global);
        const ownScales = () => scales.data.subarray(i * count, (i + 1) * count);
        const isNarrow = magnitude >= smallest / smallestE4m3 &&
          (magnitude < limit / largestE4m3 || magnitude * largestOf(ownScales()) < limit);
        return magnitude !== 0 && !isNarrow;
      });
    }
    case "fp8":
      return !exponentsOf(scales).every((exponent) => smallestFp8 <= exponent && exponent < fp8Limit);
  }
}

/** The biased exponents of scales of FP8. That of zero is 127, as it is never too small. */
function exponentsOf({ dtype, data }: Tensor): TensorData {
  if (dtype === "u8") return data;
  if (dtype === "bf16") return data.map((bits) => (bits & 0x7fff) === 0 ? 127 : bits >> 7 & 0xff);
  const words = new Int32Array(data.buffer, data.byteOffset, data.length);
  return words.map((bits) => (bits & 0x7fffffff) === 0 ? 127 : bits >> 23 & 0xff);
}

/** The largest magnitude of numbers of E4M3. */
function largestOf(numbers: TensorData): number {
  let bits = 0;
  for (const number of numbers) bits = Math.max(bits, number & 0x7f);
  const exponent = bits >> 3, mantissa = bits & 7;
  return exponent === 0 ? mantissa * 2 ** -9 : (8 + mantissa) * 2 ** (exponent - 10);
}
