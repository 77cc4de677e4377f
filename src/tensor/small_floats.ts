// The values of floating-point numbers of four and eight bits, by their bits.

/** FP4 numbers, E2M1. Source: OCP Microscaling Formats (MX) v1.0, 5.3.3. */
export const e2m1 = Float32Array.from(
  { length: 16 },
  (_, bits) => [0, 0.5, 1, 1.5, 2, 3, 4, 6][bits & 7]! * (bits & 8 ? -1 : 1),
);

/** FP8 numbers, E4M3 without infinities. Source: OCP 8-bit Floating Point v1.0, 5.1. */
export const e4m3 = Float32Array.from({ length: 256 }, (_, bits) => {
  const exponent = bits >> 3 & 15, mantissa = bits & 7;
  if ((bits & 127) === 127) return NaN;
  const size = exponent === 0 ? mantissa * 2 ** -9 : (8 + mantissa) * 2 ** (exponent - 10);
  return bits & 128 ? -size : size;
});

/** Exponents of eight bits, E8M0. Source: OCP Microscaling Formats (MX) v1.0, 5.4.1. */
export const e8m0 = Float32Array.from({ length: 256 }, (_, bits) => bits === 255 ? NaN : 2 ** (bits - 127));
