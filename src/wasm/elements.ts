// The elements of tensors, as the tasks and the kernels see them.
import type { DType, TensorData } from "../tensor/tensor.ts";
import { BF16, F16, F32 } from "./codes.ts";

/** Elements in memory. Elements of two bytes are bit patterns, because arrays of one type are copied unchanged. */
export type Elements = Uint16Array | Float32Array;

/** The same memory as elements. */
export function elements(data: TensorData): Elements {
  return data instanceof Float16Array ? new Uint16Array(data.buffer, data.byteOffset, data.length) : data as Elements;
}

const codes: Readonly<Partial<Record<DType, number>>> = { f16: F16, bf16: BF16, f32: F32 };

/**
 * The code of an element type in the WebAssembly kernels.
 *
 * @throws {TypeError} If the kernels do not support the dtype.
 */
export function wasmDType(dtype: DType): number {
  const code = codes[dtype];
  if (code === undefined) throw new TypeError(`The WebAssembly kernels support f16, bf16 and f32, got ${dtype}`);
  return code;
}
