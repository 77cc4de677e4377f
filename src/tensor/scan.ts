// Looks through large arrays of scales. Loops: the methods of typed arrays that call a function take ten times as long.
import type { DType, TensorData } from "./tensor.ts";

/** Returns which bytes occur: 1 at the index of each. */
export function occurring(bytes: ArrayLike<number>): Uint8Array {
  const seen = new Uint8Array(256);
  for (let i = 0; i < bytes.length; i++) seen[bytes[i]!] = 1;
  return seen;
}

/** Returns the index of the first number that is above a maximum, or -1. */
export function firstAbove(bytes: TensorData, maximum: number): number {
  for (let i = 0; i < bytes.length; i++) if (bytes[i]! > maximum) return i;
  return -1;
}

/** The bits of the exponent. Numbers that are not finite have all of them. */
const exponents = { f16: 0x7c00, bf16: 0x7f80, f32: 0x7f800000 } as const;

/** Returns the index of the first number that is not finite, or -1. */
export function firstNotFinite(
  { buffer, byteOffset, length }: TensorData,
  dtype: Extract<DType, keyof typeof exponents>,
): number {
  const mask = exponents[dtype];
  const bits = dtype === "f32"
    ? new Int32Array(buffer, byteOffset, length)
    : new Uint16Array(buffer, byteOffset, length);
  for (let i = 0; i < length; i++) if ((bits[i]! & mask) === mask) return i;
  return -1;
}
