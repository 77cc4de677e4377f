import type { BackendTensor } from "../backend/backend.ts";
import type { DType } from "../tensor/tensor.ts";
import type { DeviceBuffer } from "./driver/memory.ts";

/** A tensor in device memory. */
export class CudaTensor implements BackendTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** The backend that the tensor belongs to. */
  readonly owner: object;
  readonly buffer: DeviceBuffer;

  constructor(owner: object, dtype: DType, shape: readonly number[], buffer: DeviceBuffer) {
    this.owner = owner;
    this.dtype = dtype;
    this.shape = Object.freeze([...shape]); // the caller may change its own array
    this.buffer = buffer;
  }

  /** The CUdeviceptr. */
  get pointer(): bigint {
    return this.buffer.pointer;
  }

  [Symbol.dispose](): void {
    this.buffer[Symbol.dispose]();
  }
}
