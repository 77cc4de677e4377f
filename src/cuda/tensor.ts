import type { BackendTensor } from "../backend/backend.ts";
import type { DType } from "../tensor/tensor.ts";
import type { DeviceBuffer } from "./driver/memory.ts";

/** A tensor in device memory. Several tensors can share the memory, so that a call can keep it until it ends. */
export class CudaTensor implements BackendTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** The backend that the tensor belongs to. */
  readonly owner: object;
  readonly #buffer: DeviceBuffer;
  #isDisposed = false;

  /** Makes a tensor that becomes a user of the memory. */
  constructor(owner: object, dtype: DType, shape: readonly number[], buffer: DeviceBuffer) {
    this.owner = owner;
    this.dtype = dtype;
    this.shape = Object.freeze([...shape]); // the caller may change its own array
    this.#buffer = buffer;
  }

  /** The memory. Throws a `TypeError` if the tensor is disposed. */
  get buffer(): DeviceBuffer {
    if (this.#isDisposed) throw new TypeError("Cannot use a tensor that is disposed");
    return this.#buffer;
  }

  /** The CUdeviceptr. */
  get pointer(): bigint {
    return this.buffer.pointer;
  }

  /** Makes another tensor with the same memory. */
  share(): CudaTensor {
    this.buffer.retain();
    return new CudaTensor(this.owner, this.dtype, this.shape, this.#buffer);
  }

  [Symbol.dispose](): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    this.#buffer[Symbol.dispose]();
  }
}
