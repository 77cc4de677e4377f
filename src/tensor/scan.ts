// Looks through large arrays of scales, a word of four bytes at a time: a function called for each element takes 20 times as
// long. The words are read in eight places in turn, because another thread has just written them, and each place waits for
// them.
import type { TensorData } from "./tensor.ts";

/** A word of equal parts of 1, 2 or 4 bytes. */
const repeat = (part: number, bytes: number) =>
  Math.imul(part, bytes === 1 ? 0x01010101 : bytes === 2 ? 0x00010001 : 1);

/** Memory, divided into whole words and the elements before and after them. */
interface Divided {
  readonly words: Int32Array;
  /** The number of elements before the words, and the first one after them. */
  readonly before: number;
  readonly after: number;
}

function divide({ buffer, byteOffset, length }: TensorData, bytes: number): Divided {
  const before = Math.min(length, (4 - byteOffset % 4) % 4 / bytes), perWord = 4 / bytes;
  const count = Math.floor((length - before) / perWord);
  const words = count > 0 ? new Int32Array(buffer, byteOffset + before * bytes, count) : new Int32Array(0);
  return { words, before, after: before + count * perWord };
}

/**
 * Returns whether all bytes are in a range. A subtraction sets the high bit of a byte that is too small, unless it was set
 * before, and larger bytes are smaller ones of the complement.
 *
 * @param minimum At most 128.
 * @param maximum At least 127.
 */
export function areWithin(data: TensorData, minimum: number, maximum: number): boolean {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.length);
  const isOutside = (byte: number) => byte < minimum || byte > maximum;
  const { words, before, after } = divide(data, 1);
  if (bytes.subarray(0, before).some(isOutside) || bytes.subarray(after).some(isOutside)) return false;
  const low = repeat(minimum, 1), high = repeat(255 - maximum, 1), signs = repeat(0x80, 1);
  const outside = (word: number) => word - low & ~word | ~word - high & word;
  const count = Math.floor(words.length / 8);
  let found = 0;
  for (let i = 0; i < count; i++) {
    found |= outside(words[i]!) | outside(words[i + count]!);
    found |= outside(words[i + 2 * count]!) | outside(words[i + 3 * count]!);
    found |= outside(words[i + 4 * count]!) | outside(words[i + 5 * count]!);
    found |= outside(words[i + 6 * count]!) | outside(words[i + 7 * count]!);
  }
  for (let i = 8 * count; i < words.length; i++) found |= outside(words[i]!);
  return (found & signs) === 0;
}

/** Returns the index of the first byte that is above a maximum, or -1. */
export function firstAbove(bytes: TensorData, maximum: number): number {
  if (maximum >= 127 && areWithin(bytes, 0, maximum)) return -1;
  for (let i = 0; i < bytes.length; i++) if (bytes[i]! > maximum) return i;
  return -1;
}

/** The bytes of a number, and the bits that are all set in numbers that are not finite: they end below the sign. */
const formats = {
  e4m3: { bytes: 1, mask: 0x7f },
  f16: { bytes: 2, mask: 0x7c00 },
  bf16: { bytes: 2, mask: 0x7f80 },
  f32: { bytes: 4, mask: 0x7f800000 },
} as const;

/** Returns the index of the first number that is not finite, or -1. */
export function firstNotFinite(data: TensorData, format: keyof typeof formats): number {
  const { bytes, mask } = formats[format];
  return firstWithAll(data, bytes, mask);
}

/**
 * Returns whether the magnitudes of all numbers of bf16 are zero or in a range, given as their bits. An addition carries to the
 * sign, which was cleared before, if a magnitude is at least a bound.
 *
 * @param minimum At least 1.
 * @param limit At most 0x8000. Larger magnitudes and this one are outside.
 */
export function areBf16Within({ buffer, byteOffset, length }: TensorData, minimum: number, limit: number): boolean {
  const numbers = new Uint16Array(buffer, byteOffset, length);
  const isOutside = (bits: number) => (bits & 0x7fff) !== 0 && (bits & 0x7fff) < minimum || (bits & 0x7fff) >= limit;
  const { words, before, after } = divide(numbers, 2);
  if (numbers.subarray(0, before).some(isOutside) || numbers.subarray(after).some(isOutside)) return false;
  const [one, low, high] = [1, minimum, limit].map((bound) => repeat(0x8000 - bound, 2)) as [number, number, number];
  const magnitudes = 0x7fff7fff;
  const outside = (word: number) =>
    (word & magnitudes) + one & ~((word & magnitudes) + low) | (word & magnitudes) + high;
  const count = Math.floor(words.length / 8);
  let found = 0;
  for (let i = 0; i < count; i++) {
    found |= outside(words[i]!) | outside(words[i + count]!);
    found |= outside(words[i + 2 * count]!) | outside(words[i + 3 * count]!);
    found |= outside(words[i + 4 * count]!) | outside(words[i + 5 * count]!);
    found |= outside(words[i + 6 * count]!) | outside(words[i + 7 * count]!);
  }
  for (let i = 8 * count; i < words.length; i++) found |= outside(words[i]!);
  return (found & repeat(0x8000, 2)) === 0;
}

/** Returns the index of the first number that has all bits of a mask, or -1. */
function firstWithAll(data: TensorData, bytes: number, mask: number): number {
  const { buffer, byteOffset, length } = data;
  const numbers = bytes === 1
    ? new Uint8Array(buffer, byteOffset, length)
    : bytes === 2
    ? new Uint16Array(buffer, byteOffset, length)
    : new Int32Array(buffer, byteOffset, length);
  const { words, before, after } = divide(data, bytes);
  const has = (bits: number) => (bits & mask) === mask;
  if (!hasAll(words, mask, bytes) && !numbers.subarray(0, before).some(has) && !numbers.subarray(after).some(has)) {
    return -1;
  }
  return numbers.findIndex(has);
}

/** Returns whether any part of a word has all bits of a mask. An addition at the lowest bit then carries to the highest one. */
function hasAll(words: Int32Array, mask: number, bytes: number): boolean {
  const masks = repeat(mask, bytes), lowest = repeat(mask & -mask, bytes), signs = repeat(2 ** (8 * bytes - 1), bytes);
  const carries = (word: number) => (word & masks) + lowest;
  const count = Math.floor(words.length / 8);
  let found = 0;
  for (let i = 0; i < count; i++) {
    found |= carries(words[i]!) | carries(words[i + count]!);
    found |= carries(words[i + 2 * count]!) | carries(words[i + 3 * count]!);
    found |= carries(words[i + 4 * count]!) | carries(words[i + 5 * count]!);
    found |= carries(words[i + 6 * count]!) | carries(words[i + 7 * count]!);
  }
  for (let i = 8 * count; i < words.length; i++) found |= carries(words[i]!);
  return (found & signs) !== 0;
}
