// The numbers of few bits that weights and their scales consist of.
import { convert, tensor, viewOf } from "../../tensor/tensor.ts";
import { dtypesByStored } from "../../safetensors/safetensors.ts";
import type { StoredDType } from "../../safetensors/header.ts";

/** The values of FP4 numbers, E2M1, by their bits. Source: OCP Microscaling Formats (MX) v1.0, 5.3.3. */
export const fp4 = Float32Array.from(
  { length: 16 },
  (_, bits) => [0, 0.5, 1, 1.5, 2, 3, 4, 6][bits & 7]! * (bits & 8 ? -1 : 1),
);

/** The values of FP8 numbers, E4M3 without infinities, by their bits. Source: OCP 8-bit Floating Point v1.0, 5.1. */
export const fp8 = Float32Array.from({ length: 256 }, (_, bits) => {
  const exponent = bits >> 3 & 15, mantissa = bits & 7;
  if ((bits & 127) === 127) return NaN;
  const size = exponent === 0 ? mantissa * 2 ** -9 : (8 + mantissa) * 2 ** (exponent - 10);
  return bits & 128 ? -size : size;
});

/** The values of E8M0 numbers, by their bits. Source: OCP Microscaling Formats (MX) v1.0, 5.4.1. */
export const e8m0 = Float32Array.from({ length: 256 }, (_, bits) => bits === 255 ? NaN : 2 ** (bits - 127));

/** The dtypes that hold values themselves. */
export const floats: readonly StoredDType[] = ["F16", "BF16", "F32"];

/** The dtypes of scales. A scale in U8 is E8M0. */
export const scaleDTypes: readonly StoredDType[] = [...floats, "F8_E8M0", "U8", "F8_E4M3"];

/** Converts the bytes of numbers to f32. */
export function toF32(bytes: Uint8Array<ArrayBuffer>, stored: StoredDType): Float32Array {
  if (stored === "F8_E4M3") return Float32Array.from(bytes, (bits) => fp8[bits]!);
  if (stored === "F8_E8M0" || stored === "U8") return Float32Array.from(bytes, (bits) => e8m0[bits]!);
  const dtype = dtypesByStored[stored]!;
  const shared = new SharedArrayBuffer(bytes.length);
  new Uint8Array(shared).set(bytes);
  const count = bytes.length / (dtype === "f32" ? 4 : 2);
  return convert(tensor(viewOf(dtype, shared, 0, count), [count], dtype), "f32").data as Float32Array;
}
