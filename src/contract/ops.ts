/**
 * The steps of a Mixture-of-Experts layer, on tensors that a backend holds.
 *
 * @module
 */
import type { RouterOptions } from "../routing/router.ts";
import type { BackendTensor } from "../tensor/backend_tensor.ts";
import type { DType, Tensor } from "../tensor/tensor.ts";

/**
 * The result of a sort.
 *
 * @typeParam T A tensor on the host or on a backend.
 */
export interface Sorted<T = Tensor> {
  /** [N], i32: the values in ascending order. */
  readonly values: T;
  /** [N], i32: the position that each value had before. */
  readonly indices: T;
}

/**
 * The result of counting.
 *
 * @typeParam T A tensor on the host or on a backend.
 */
export interface BinCounts<T = Tensor> {
  /** [bins], i32: how often each value occurs. */
  readonly counts: T;
  /** [bins], i32: how often each value or a lower one occurs. This is where the values of each bin end after sorting. */
  readonly cumsum: T;
}

/** Options of {@linkcode BackendOps.linear}. */
export interface LinearOptions<T = BackendTensor> {
  /** [N], of the dtype of the weight. */
  readonly bias?: T | undefined;
  /**
   * The dtype of the output.
   *
   * @default {input.dtype}
   */
  readonly dtype?: DType | undefined;
}

/** Options of {@linkcode BackendOps.route}. */
export interface RouteOptions {
  /**
   * The dtype that the routing weights are rounded to.
   *
   * @default {"f32"}
   */
  readonly dtype?: DType | undefined;
}

/** Options of {@linkcode BackendOps.gather}. */
export interface GatherOptions {
  /** C, the rows of a bin. Later assignments are left out. */
  readonly capacity: number;
  /**
   * K: the number of consecutive assignments that belong to one row of the source.
   *
   * @default {1}
   */
  readonly topK?: number | undefined;
}

/** The result of {@linkcode BackendOps.route}. */
export interface BackendRouting {
  /** [T, K], i32: the experts of each token, the best first. */
  readonly routerIndices: BackendTensor;
  /** [T, K]: the factor of each expert's output. */
  readonly routerWeights: BackendTensor;
  /** [T, K], f32: the factor of each expert's input, for the kind `"sigmoid-input"` only. Its `routerWeights` are 1. */
  readonly inputWeights?: BackendTensor | undefined;
}

/**
 * The steps of a layer, on tensors that a backend holds. See the functions of the same names in `ops` for what they do.
 *
 * The elements are not checked. An index that does not name a row selects zeros. A value that does not name a bin is left
 * out; the end of a sorted list is then unspecified. If `indices` names an assignment twice, its last row counts. All reject with a `TypeError` for a dtype, and with a `RangeError` for a shape, that does not fit.
 */
export interface BackendOps {
  /** Makes a tensor whose elements all have one value. On a GPU, a tensor of u8 has an even number of elements. */
  full(dtype: DType, shape: readonly number[], value: number): Promise<BackendTensor>;
  /** Multiplies [T, D] by the transpose of [N, D] and adds [N]. Sums in f32 and rounds to `dtype`. */
  linear(input: BackendTensor, weight: BackendTensor, options?: LinearOptions): Promise<BackendTensor>;
  /** Routes tokens as `route` does. */
  route(logits: BackendTensor, router: RouterOptions<BackendTensor>, options?: RouteOptions): Promise<BackendRouting>;
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
