// Decodes weights of fewer bits while they are read.

/** Values that share one scale in MXFP4. */
export const mxfp4Block = 32;

/** The values of a 4-bit number, E2M1. Source: OCP Microscaling Formats (MX) v1.0, 5.3.3. */
const fp4Values = [0, 0.5, 1, 1.5, 2, 3, 4, 6].flatMap((value) => [value, -value]);
const fp4 = Float32Array.from({ length: 16 }, (_, bits) => fp4Values[(bits & 7) * 2 + (bits >> 3)]!);

/** The values of an 8-bit number, E4M3 without infinities. Source: OCP 8-bit Floating Point v1.0, 5.1. */
const fp8 = Float32Array.from({ length: 256 }, (_, bits) => {
  const exponent = bits >> 3 & 15, mantissa = bits & 7;
  if ((bits & 127) === 127) return NaN;
  const size = exponent === 0 ? mantissa * 2 ** -9 : (8 + mantissa) * 2 ** (exponent - 10);
  return bits & 128 ? -size : size;
});

/** The values of a scale's exponent, E8M0. Source: OCP Microscaling Formats (MX) v1.0, 5.4.1. */
const e8m0 = Float32Array.from({ length: 256 }, (_, bits) => bits === 255 ? NaN : 2 ** (bits - 127));

/** Decodes pairs of E2M1, the low four bits first. */
export function decodeFp4(bytes: Uint8Array): Float32Array {
  const values = new Float32Array(2 * bytes.length);
  for (let i = 0; i < bytes.length; i++) {
    values[2 * i] = fp4[bytes[i]! & 15]!;
    values[2 * i + 1] = fp4[bytes[i]! >> 4]!;
  }
  return values;
}

/** Decodes E4M3. */
export function decodeFp8(bytes: Uint8Array): Float32Array {
  return Float32Array.from(bytes, (bits) => fp8[bits]!);
}

/** Decodes E8M0. */
export function decodeExponents(bytes: Uint8Array): Float32Array {
  return Float32Array.from(bytes, (bits) => e8m0[bits]!);
}

/** Multiplies a row by its scales. Each `block` columns share a scale. */
export function scaleRow(row: Float32Array, scales: Float32Array, block: number): void {
  for (let i = 0; i < row.length; i++) row[i]! *= scales[Math.floor(i / block)]!;
}
