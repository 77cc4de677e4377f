// Tensors of the CPU backend. Several tensors can share memory: a call shares its inputs for as long as it runs, so the
// memory of an input that is disposed meanwhile is released when the call ends.
import type { CapturedTensor } from "../backend/captures.ts";
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

/** What a tensor reports to: the backend's captures. */
export interface TensorOwner {
  made(tensor: CpuTensor): void;
  disposing(tensor: CpuTensor): void;
}

/** A tensor in shared memory. */
export class CpuTensor implements CapturedTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly #owner: TensorOwner;
  #elements: SharedElements | undefined;

  /** @param owner Identifies the backend that can use the tensor. */
  constructor(owner: TensorOwner, { dtype, shape }: Pick<Tensor, "dtype" | "shape">, elements: SharedElements) {
    this.dtype = dtype;
    this.shape = Object.freeze([...shape]); // the caller may change its own array
    this.#owner = owner;
    this.#elements = elements;
    elements.acquire();
    owner.made(this);
  }

  get isDisposed(): boolean {
    return this.#elements === undefined;
  }

  /** The elements. Throws a `TypeError` if the tensor is disposed. */
  get data(): TensorData {
    return this.#used().data;
  }

  /** Returns another tensor with the same memory. */
  share(): CpuTensor {
    return new CpuTensor(this.#owner, this, this.#used());
  }

  /** Whether the tensor belongs to the backend with this owner of tensors. */
  belongsTo(owner: TensorOwner): boolean {
    return this.#owner === owner;
  }

  #used(): SharedElements {
    if (!this.#elements) throw new TypeError("Cannot use a tensor that is disposed");
    return this.#elements;
  }

  [Symbol.dispose](): void {
    if (!this.#elements) return;
    this.#owner.disposing(this);
    this.#elements.release();
    this.#elements = undefined;
  }
}
