// Weights of fewer bits than the op computes with, turned into numbers while they are read.

/** The values of an FP4 number, E2M1. Source: OCP Microscaling Formats (MX) v1.0, 5.3.3. */
const fp4 = [0, 0.5, 1, 1.5, 2, 3, 4, 6];

/** Values that share one scale in MXFP4: 16 bytes. */
export const mxfp4Block = 32;

/** What MXFP4's bytes stand for: two values each, the lower four bits first; scales are exponents with a bias of 127. */
export function dequantizeMxfp4(blocks: Uint8Array, scales: Uint8Array, target: Float32Array): void {
  for (let b = 0; b < scales.length; b++) {
    const scale = scales[b] === 255 ? NaN : 2 ** (scales[b]! - 127);
    for (let i = 0; i < mxfp4Block; i++) {
      const bits = blocks[b * 16 + (i >> 1)]! >> (i % 2 === 0 ? 0 : 4);
      const value = fp4[bits & 7]! * scale;
      target[b * mxfp4Block + i] = bits & 8 ? -value : value;
    }
  }
}

/** The value of each byte that is an FP8 number, E4M3 without infinities. Source: OCP 8-bit Floating Point v1.0, 5.1. */
const fp8 = Float32Array.from({ length: 256 }, (_, bits) => {
  const exponent = bits >> 3 & 15, mantissa = bits & 7;
  if ((bits & 127) === 127) return NaN;
  const size = exponent === 0 ? mantissa * 2 ** -9 : (8 + mantissa) * 2 ** (exponent - 10);
  return bits & 128 ? -size : size;
});

/** What a row of FP8 bytes stands for, each run of `block` of them with its scale. */
export function dequantizeFp8(row: Uint8Array, scales: Float32Array, block: number, target: Float32Array): void {
  for (let i = 0; i < row.length; i++) target[i] = fp8[row[i]!]! * scales[Math.floor(i / block)]!;
}
