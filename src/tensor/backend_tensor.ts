import type { DType } from "./tensor.ts";

/** A tensor that a backend holds. Dispose it to give its memory back; twice is no error. */
export interface BackendTensor extends Disposable {
  /** The element type. */
  readonly dtype: DType;
  /** The size of each dimension, outermost first. */
  readonly shape: readonly number[];
}
