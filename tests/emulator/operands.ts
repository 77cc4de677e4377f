// Operands for tests of wgmma.

/** Operands a[m][k] and b[n][k]: small integers, which are exact in both formats. */
export const a = (m: number, k: number): number => (m * 5 + k * 3) % 11 - 5;
export const b = (n: number, k: number): number => (n * 7 + k * 2) % 9 - 4;

/** The bits of a number in each format. */
export const encoders = {
  f16: (value: number): number => new Uint16Array(Float16Array.of(value).buffer)[0]!,
  bf16: (value: number): number => new Uint32Array(Float32Array.of(value).buffer)[0]! >>> 16,
};
