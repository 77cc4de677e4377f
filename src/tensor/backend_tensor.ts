import type { PackedTensor } from "./packed_tensor.ts";
import type { DType } from "./tensor.ts";

/** A tensor on a backend. Dispose it to free its memory. To dispose it twice is not an error. */
export interface BackendTensor extends Disposable {
  /** The element type. */
  readonly dtype: DType;
  /** The size of each dimension, outermost first. */
  readonly shape: readonly number[];
}

/** A packed tensor on a backend. Dispose it to free the memory of its parts. To dispose it twice is not an error. */
export interface PackedBackendTensor extends PackedTensor<BackendTensor>, Disposable {}
