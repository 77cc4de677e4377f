import type { Tensor } from "../tensor/tensor.ts";

/** The experts of T tokens, K each. */
export interface Routing {
  /** [T, K], i32: the experts of each token, the best first. */
  readonly routerIndices: Tensor;
  /** [T, K], f32: the factor of each expert's output. */
  readonly routerWeights: Tensor;
  /** [T, K], f32: the factor of each expert's input, for the kind `"sigmoid-input"` only. Its `routerWeights` are 1. */
  readonly inputWeights?: Tensor;
}
