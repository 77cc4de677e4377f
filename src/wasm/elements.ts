// Tensors' elements as tasks take them.
import type { DType, TensorData } from "../tensor/tensor.ts";

/** Elements; those of two bytes as bit patterns, for arrays of one type are copied as they are. */
export type Elements = Uint16Array | Float32Array;

/** The same memory as elements. */
export function elements(data: TensorData): Elements {
  return data instanceof Float16Array ? new Uint16Array(data.buffer, data.byteOffset, data.length) : data as Elements;
}

/** The number that the kernels know an element type by. */
export function dtypeCode(dtype: DType): number {
  return ["f16", "bf16", "f32"].indexOf(dtype);
}
