// Conversion from and to bf16, the upper 16 bits of an f32. JavaScript does not have an array type for it.

/** The number of values that are converted at a time, in memory that stays in the cache. */
const chunk = 4096;

/** Rounds numbers to bf16 bit patterns: to f32, then to the nearest bf16, ties to even. NaN stays NaN. */
export function toBfloat16(values: ArrayLike<number>, target: Uint16Array): void {
  const words = new Uint32Array(chunk), floats = new Float32Array(words.buffer);
  for (let start = 0; start < target.length; start += chunk) {
    const count = Math.min(chunk, target.length - start);
    for (let i = 0; i < count; i++) floats[i] = values[start + i]!;
    for (let i = 0; i < count; i++) target[start + i] = roundWord(words[i]!);
  }
}

/** Converts bf16 bit patterns to numbers. */
export function fromBfloat16(bits: Uint16Array, target: { [index: number]: number }): void {
  const words = new Uint32Array(chunk), floats = new Float32Array(words.buffer);
  for (let start = 0; start < bits.length; start += chunk) {
    const count = Math.min(chunk, bits.length - start);
    for (let i = 0; i < count; i++) words[i] = bits[start + i]! << 16;
    for (let i = 0; i < count; i++) target[start + i] = floats[i]!;
  }
}

function roundWord(word: number): number {
  const isNaN = (word & 0x7fffffff) > 0x7f800000;
  if (isNaN) return word >>> 16 | 0x40; // a quiet NaN: without the low bits of its payload, it could become infinity
  return (word + 0x7fff + (word >>> 16 & 1)) >>> 16;
}
