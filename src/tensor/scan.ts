// Looks through large arrays of scales. Loops: the methods of typed arrays that call a function take ten times as long.
import type { DType, TensorData } from "./tensor.ts";

/** Returns which bytes occur: 1 at the index of each. */
export function occurring(bytes: ArrayLike<number>): Uint8Array {
  const seen = new Uint8Array(256);
  for (let i = 0; i < bytes.length; i++) seen[bytes[i]!] = 1;
  return seen;
}

/** A word of four equal bytes. */
const four = (byte: number) => Math.imul(byte, 0x01010101);

/**
 * Returns whether all bytes are in a range. Four bytes are tested at a time: a subtraction sets the high bit of a byte that is
 * too small, unless it was set before, and larger bytes are smaller ones of the complement.
 *
 * @param minimum At most 128.
 * @param maximum At least 127.
 */
export function areWithin({ buffer, byteOffset, length }: TensorData, minimum: number, maximum: number): boolean {
  const start = (4 - byteOffset % 4) % 4, words = Math.max(0, Math.floor((length - start) / 4));
  const bytes = new Uint8Array(buffer, byteOffset, length);
  const isOutside = (byte: number) => byte < minimum || byte > maximum;
  if (bytes.subarray(0, start).some(isOutside) || bytes.subarray(start + 4 * words).some(isOutside)) return false;
  if (words === 0) return true;
  const low = four(minimum), high = four(255 - maximum), signs = four(128);
  const data = new Int32Array(buffer, byteOffset + start, words);
  for (let i = 0; i < words; i++) {
    const word = data[i]!;
    if (((word - low & ~word | ~word - high & word) & signs) !== 0) return false;
  }
  return true;
}

/** Returns the index of the first byte that is above a maximum, or -1. */
export function firstAbove(bytes: TensorData, maximum: number): number {
  if (maximum >= 127 && areWithin(bytes, 0, maximum)) return -1;
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
  return firstWithBits(bits, mask);
}

/** Returns the index of the first number of bf16 whose magnitude is 2^121 or more, or -1. */
export function firstHugeBf16({ buffer, byteOffset, length }: TensorData): number {
  return firstWithBits(new Uint16Array(buffer, byteOffset, length), 0x7c00);
}

function firstWithBits(numbers: Int32Array | Uint16Array, mask: number): number {
  for (let i = 0; i < numbers.length; i++) if ((numbers[i]! & mask) === mask) return i;
  return -1;
}
