import type { CapturedTensor } from "../backend/captures.ts";
import type { DType } from "../tensor/tensor.ts";
import type { DeviceBuffer } from "./driver/memory.ts";

/** What a tensor reports to: the backend's captures. */
export interface TensorOwner {
  made(tensor: CudaTensor): void;
  disposing(tensor: CudaTensor): void;
}

/** A tensor in device memory. Several tensors can share the memory, so that a call can keep it until it ends. */
export class CudaTensor implements CapturedTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Identifies the backend that the tensor belongs to. */
  readonly owner: TensorOwner;
  readonly #buffer: DeviceBuffer;
  #isDisposed = false;

  /** Makes a tensor that becomes a user of the memory. */
  constructor(owner: TensorOwner, dtype: DType, shape: readonly number[], buffer: DeviceBuffer) {
    this.owner = owner;
    this.dtype = dtype;
    this.shape = Object.freeze([...shape]); // the caller may change its own array
    this.#buffer = buffer;
    owner.made(this);
  }

  get isDisposed(): boolean {
    return this.#isDisposed;
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
    this.owner.disposing(this);
    this.#isDisposed = true;
    this.#buffer[Symbol.dispose]();
  }
}
