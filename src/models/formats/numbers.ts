// Converts stored numbers and scales to f32.
import { e4m3, e8m0 } from "../../tensor/small_floats.ts";
import { convert, tensor, viewOf } from "../../tensor/tensor.ts";
import { dtypesByStored } from "../../safetensors/safetensors.ts";
import type { StoredDType } from "../../safetensors/header.ts";

/** The dtypes that hold values themselves. */
export const floats: readonly StoredDType[] = ["F16", "BF16", "F32"];

/** The dtypes of scales. A scale in U8 is E8M0. */
export const scaleDTypes: readonly StoredDType[] = [...floats, "F8_E8M0", "U8", "F8_E4M3"];

/** Converts the bytes of numbers to f32. */
export function toF32(bytes: Uint8Array<ArrayBuffer>, stored: StoredDType): Float32Array {
  if (stored === "F8_E4M3") return Float32Array.from(bytes, (bits) => e4m3[bits]!);
  if (stored === "F8_E8M0" || stored === "U8") return Float32Array.from(bytes, (bits) => e8m0[bits]!);
  const dtype = dtypesByStored[stored]!;
  const shared = new SharedArrayBuffer(bytes.length);
  new Uint8Array(shared).set(bytes);
  const count = bytes.length / (dtype === "f32" ? 4 : 2);
  return convert(tensor(viewOf(dtype, shared, 0, count), [count], dtype), "f32").data as Float32Array;
}

/** Returns the bytes of numbers. */
export function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
