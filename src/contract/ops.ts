/**
 * The steps that a Mixture-of-Experts layer is made of, on tensors that a backend holds.
 *
 * @module
 */
import type { BackendTensor } from "../tensor/backend_tensor.ts";
import type { RouterOptions } from "../routing/router.ts";
import type { DType, Tensor } from "../tensor/tensor.ts";

/**
 * What sorting found.
 *
 * @typeParam T A tensor on the host, or one that a backend holds.
 */
export interface Sorted<T = Tensor> {
  /** [N], i32: the values in ascending order. */
  readonly values: T;
  /** [N], i32: where each of them stood before. */
  readonly indices: T;
}

/**
 * What counting found.
 *
 * @typeParam T A tensor on the host, or one that a backend holds.
 */
export interface BinCounts<T = Tensor> {
  /** [bins], i32: how often each value occurs. */
  readonly counts: T;
  /** [bins], i32: how often it or a lower one occurs: where the values of each bin end among the sorted. */
  readonly cumsum: T;
}

/** How {@linkcode BackendOps.gather} fills its bins. */
export interface GatherOptions {
  /** C, the rows of a bin. What comes after is left out. */
  readonly capacity: number;
  /**
   * K: how many assignments, one after the other, belong to one row of the source.
   *
   * @default {1}
   */
  readonly topK?: number | undefined;
}

/** What {@linkcode BackendOps.route} decides. */
export interface BackendRouting {
  /** [T, K], i32: the experts of each token, the best first. */
  readonly routerIndices: BackendTensor;
  /** [T, K]: what the output of each of them is multiplied by. */
  readonly routerWeights: BackendTensor;
  /** [T, K], f32: what the input of each of them is multiplied by; only of the kind `"sigmoid-input"`, whose `routerWeights` are 1. */
  readonly inputWeights?: BackendTensor | undefined;
}

/**
 * The steps of a layer, on tensors that a backend holds: what they mean is said at the functions of the same names in `ops`.
 *
 * Nothing looks at the elements on the host: an index that names no row selects zeros, and a value that names no bin leaves
 * unspecified what is made of it. All refuse dtypes with a `TypeError` and shapes with a `RangeError`.
 */
export interface BackendOps {
  /** Makes a tensor whose elements are all the same. */
  full(dtype: DType, shape: readonly number[], value: number): Promise<BackendTensor>;
  /** Multiplies [T, D] by the transpose of [N, D] and adds [N]: summed in f32, rounded to `dtype`, by default the input's. */
  linear(
    input: BackendTensor,
    weight: BackendTensor,
    options?: { readonly bias?: BackendTensor | undefined; readonly dtype?: DType | undefined },
  ): Promise<BackendTensor>;
  /** Routes tokens as `route` does. The weights are rounded to `dtype`, by default f32. */
  route(
    logits: BackendTensor,
    router: RouterOptions<BackendTensor>,
    options?: { readonly dtype?: DType | undefined },
  ): Promise<BackendRouting>;
  /** See `ops.sort`. */
  sort(values: BackendTensor, bins: number): Promise<Sorted<BackendTensor>>;
  /** See `ops.bincountCumsum`. */
  bincountCumsum(values: BackendTensor, bins: number): Promise<BinCounts<BackendTensor>>;
  /** See `ops.indexSelect`. */
  indexSelect(source: BackendTensor, indices: BackendTensor): Promise<BackendTensor>;
  /** See `ops.gather`. */
  gather(
    source: BackendTensor,
    indices: BackendTensor,
    cumsum: BackendTensor,
    options: GatherOptions,
  ): Promise<BackendTensor>;
  /** See `ops.scatter`. */
  scatter(
    source: BackendTensor,
    indices: BackendTensor,
    cumsum: BackendTensor,
    weights: BackendTensor,
  ): Promise<BackendTensor>;
  /** See `ops.batchedMatmul`. */
  batchedMatmul(a: BackendTensor, b: BackendTensor): Promise<BackendTensor>;
}
