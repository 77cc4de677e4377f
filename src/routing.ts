/**
 * Routing: from a router's logits to the experts of each token, their weights and their load.
 *
 * @module
 */
import { describeValue, formatShape, type Tensor, zeros } from "./tensor.ts";

/** What a router decides for T tokens, K experts each. */
export interface Routing {
  /** [T, K], i32: the experts of each token, the likeliest first. */
  readonly routerIndices: Tensor;
  /** [T, K], f32: their probabilities. */
  readonly routerWeights: Tensor;
}

/**
 * Routes tokens: softmax over the experts, then the K largest probabilities, not renormalised.
 *
 * @param logits [T, E], f32.
 * @param topK K, from 1 to E.
 * @returns The experts and their probabilities, sorted descending; between equals the lower index comes first.
 * @throws {TypeError} If the logits are not f32.
 * @throws {RangeError} If the logits are no matrix, or K is out of range.
 *
 * @example Usage
 * ```ts
 * import { route, tensor } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * const logits = tensor(new Float32Array([0, 2, 1]), [1, 3]);
 * assertEquals([...route(logits, 2).routerIndices.data], [1, 2]);
 * ```
 */
export function route(logits: Tensor, topK: number): Routing {
  const [tokens, experts] = matrix("logits", logits);
  if (!Number.isInteger(topK) || topK < 1 || topK > experts) {
    throw new RangeError(
      `topK must be an integer from 1 to the number of experts, ${experts}, got ${describeValue(topK)}`,
    );
  }
  const routerIndices = zeros("i32", [tokens, topK]);
  const routerWeights = zeros("f32", [tokens, topK]);
  const exponentials = new Float64Array(experts);
  const row = new Float32Array(experts);
  for (let t = 0; t < tokens; t++) {
    softmaxRow(logits.data.subarray(t * experts, (t + 1) * experts), exponentials, row);
    const start = t * topK;
    topKRow(
      row,
      routerIndices.data.subarray(start, start + topK) as Int32Array,
      routerWeights.data.subarray(start, start + topK) as Float32Array,
    );
  }
  return { routerIndices, routerWeights };
}

/** Softmax of one row: exponentials and their sum in double precision, one rounding. */
function softmaxRow(logits: ArrayLike<number>, exponentials: Float64Array, out: Float32Array): void {
  let max = -Infinity;
  for (let e = 0; e < logits.length; e++) max = Math.max(max, logits[e]!);
  let sum = 0;
  for (let e = 0; e < logits.length; e++) sum += exponentials[e] = Math.exp(logits[e]! - max);
  for (let e = 0; e < logits.length; e++) out[e] = exponentials[e]! / sum;
}

/** Insertion into a sorted list: K is small. Only a strictly larger value moves past another, so ties keep index order. */
function topKRow(values: Float32Array, indices: Int32Array, weights: Float32Array): void {
  const last = indices.length - 1;
  weights.fill(-Infinity);
  for (let e = 0; e < values.length; e++) {
    const value = values[e]!;
    if (e > last && !(value > weights[last]!)) continue;
    let slot = Math.min(e, last);
    for (; slot > 0 && value > weights[slot - 1]!; slot--) {
      weights[slot] = weights[slot - 1]!;
      indices[slot] = indices[slot - 1]!;
    }
    weights[slot] = value;
    indices[slot] = e;
  }
}

/**
 * Spreads the weights of each token's K experts over all E: zeros but for those.
 *
 * @param routing What {@linkcode route} returned.
 * @param experts E.
 * @returns [T, E], f32.
 * @throws {RangeError} If an index is not below `experts`.
 *
 * @example Usage
 * ```ts
 * import { denseWeights, route, tensor } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * const routing = route(tensor(new Float32Array([0, 50, 1]), [1, 3]), 1);
 * assertEquals([...denseWeights(routing, 3).data], [0, 1, 0]);
 * ```
 */
export function denseWeights({ routerIndices, routerWeights }: Routing, experts: number): Tensor {
  const [tokens, topK] = matrix("routerIndices", routerIndices, "i32");
  const dense = zeros("f32", [tokens, experts]);
  for (let i = 0; i < tokens * topK; i++) {
    const e = expertAt(routerIndices, i, experts);
    dense.data[Math.floor(i / topK) * experts + e] = routerWeights.data[i]!;
  }
  return dense;
}

/**
 * Counts the assignments of each expert, before any capacity.
 *
 * @param routerIndices [T, K], i32.
 * @param experts E.
 * @returns E counts; their sum is T · K.
 * @throws {RangeError} If an index is not below `experts`.
 *
 * @example Usage
 * ```ts
 * import { tensor, tokensPerExpert } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([...tokensPerExpert(tensor(new Int32Array([2, 0, 2, 1]), [2, 2]), 3)], [1, 1, 2]);
 * ```
 */
export function tokensPerExpert(routerIndices: Tensor, experts: number): Int32Array {
  const counts = new Int32Array(experts);
  for (let i = 0; i < routerIndices.data.length; i++) counts[expertAt(routerIndices, i, experts)]! += 1;
  return counts;
}

/**
 * Counts the assignments that a capacity keeps.
 *
 * @param counts Assignments of each expert, from {@linkcode tokensPerExpert}.
 * @param capacity The most an expert keeps. Defaults to no limit.
 * @returns The sum over the experts of the smaller of the two.
 *
 * @example Usage
 * ```ts
 * import { keptAssignments } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(keptAssignments([5, 1, 9], 4), 4 + 1 + 4);
 * ```
 */
export function keptAssignments(counts: Iterable<number>, capacity = Infinity): number {
  let kept = 0;
  for (const count of counts) kept += Math.min(count, capacity);
  return kept;
}

function expertAt(indices: Tensor, at: number, experts: number): number {
  const index = indices.data[at]!;
  if (index >= 0 && index < experts) return index;
  throw new RangeError(`routerIndices must hold integers from 0 to ${experts - 1}, got ${index} at element ${at}`);
}

function matrix(name: string, { dtype, shape }: Tensor, expected = "f32"): [number, number] {
  if (dtype !== expected) throw new TypeError(`${name} must be of dtype ${expected}, got ${dtype}`);
  if (shape.length !== 2) throw new RangeError(`${name} must be a matrix, got shape ${formatShape(shape)}`);
  return [shape[0]!, shape[1]!];
}
