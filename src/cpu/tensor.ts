// Tensors of the CPU backend. Several tensors can share memory: a call shares its inputs for as long as it runs, so the
// memory of an input that is disposed meanwhile is released when the call ends.
import type { BackendTensor } from "../backend/backend.ts";
import type { DType, Tensor, TensorData } from "../tensor/tensor.ts";

/** Elements in shared memory, with the number of tensors that use them. */
export class SharedElements {
  readonly data: TensorData;
  readonly #release: (data: TensorData) => void;
  #users = 0;

  /** @param release Called when the last user has released the elements. */
  constructor(data: TensorData, release: (data: TensorData) => void) {
    this.data = data;
    this.#release = release;
  }

  /** Adds a user. */
  acquire(): void {
    this.#users += 1;
  }

  /** Removes a user. */
  release(): void {
    this.#users -= 1;
    if (this.#users === 0) this.#release(this.data);
  }
}

/** A tensor in shared memory. */
export class CpuTensor implements BackendTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly #owner: object;
  #elements: SharedElements | undefined;

  /** @param owner The backend that can use the tensor. */
  constructor(owner: object, { dtype, shape }: Pick<Tensor, "dtype" | "shape">, elements: SharedElements) {
    this.dtype = dtype;
    this.shape = Object.freeze([...shape]); // the caller may change its own array
    this.#owner = owner;
    this.#elements = elements;
    elements.acquire();
  }

  /** The elements. Throws a `TypeError` if the tensor is disposed. */
  get data(): TensorData {
    return this.#used().data;
  }

  /** Returns another tensor with the same memory. */
  share(): CpuTensor {
    return new CpuTensor(this.#owner, this, this.#used());
  }

  /** Whether the tensor belongs to a backend. */
  belongsTo(owner: object): boolean {
    return this.#owner === owner;
  }

  #used(): SharedElements {
    if (!this.#elements) throw new TypeError("Cannot use a tensor that is disposed");
    return this.#elements;
  }

  [Symbol.dispose](): void {
    this.#elements?.release();
    this.#elements = undefined;
  }
}
