/**
 * Routing: from a router's logits to the experts of each token, their weights and their load.
 *
 * @module
 */
import { resolveRouter, type Router, type RouterOptions, type Scoring } from "./router.ts";
import { checkTensor, convert, describeValue, floatDTypes, formatShape, type Tensor, zeros } from "../tensor/tensor.ts";

/** What a router decides for T tokens, K experts each. */
export interface Routing {
  /** [T, K], i32: the experts of each token, the best first. */
  readonly routerIndices: Tensor;
  /** [T, K], f32: what the output of each of them is multiplied by. */
  readonly routerWeights: Tensor;
  /** [T, K], f32: what the input of each of them is multiplied by; only of the kind `"sigmoid-input"`, whose `routerWeights` are 1. */
  readonly inputWeights?: Tensor;
}

/**
 * Routes tokens: scores the experts, chooses K of them for each token and weighs those.
 *
 * Without a correction bias or groups the choice is made on the logits themselves, whose order every scoring keeps; with
 * them, on the scores in f32. Between equals the lower index comes first. A NaN counts as the largest of all, as in
 * PyTorch, so that it shows in the weights instead of vanishing; so does what a softmax makes of an infinite largest logit.
 *
 * @param logits [T, E], f16, bf16 or f32.
 * @param router How to route, or just K, which means `{ kind: "softmax", topK: K }`.
 * @returns The experts of each token, the best first, and their weights.
 * @throws {TypeError} If the logits or an option are of a wrong type.
 * @throws {RangeError} If the logits are no matrix, or an option is out of range or has no meaning for the kind.
 *
 * @example The two likeliest experts
 * ```ts
 * import { route, tensor } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * const logits = tensor(new Float32Array([0, 2, 1]), [1, 3]);
 * assertEquals([...route(logits, 2).routerIndices.data], [1, 2]);
 * ```
 *
 * @example A bias moves the choice, not the weights
 * ```ts
 * import { route, tensor } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * const logits = tensor(new Float32Array([0, 0, 0, 0]), [1, 4]);
 * const correctionBias = tensor(new Float32Array([0, 0.1, 0, 0.2]));
 * const routing = route(logits, { kind: "sigmoid", topK: 2, correctionBias, scale: 2.5 });
 * assertEquals([...routing.routerIndices.data], [3, 1]);
 * assertEquals([...routing.routerWeights.data], [1.25, 1.25]);
 * ```
 */
export function route(logits: Tensor, router: number | RouterOptions): Routing {
  checkTensor("logits", logits);
  if (!floatDTypes.includes(logits.dtype)) {
    throw new TypeError(`logits must be of dtype ${floatDTypes.join(", ")}, got ${logits.dtype}`);
  }
  const [, experts] = matrix("logits", logits);
  const options = typeof router === "number" ? { topK: router } : router;
  const rule = resolveRouter(options, experts);
  if (options.correctionBias) checkTensor("correctionBias", options.correctionBias);
  return routeTokens(logits, rule, options.correctionBias);
}

/**
 * Routes tokens with a router that is resolved.
 *
 * @internal
 */
export function routeTokens(logits: Tensor, router: Router, correctionBias: Tensor | undefined): Routing {
  const [tokens, experts] = matrix("logits", logits);
  const { data } = logits.dtype === "bf16" ? convert(logits, "f32") : logits;
  const { topK, onInput } = router;
  const routerIndices = zeros("i32", [tokens, topK]);
  const weights = zeros("f32", [tokens, topK]);
  const routeRow = rowRouter(router, correctionBias);
  for (let t = 0; t < tokens; t++) {
    const slots = [t * topK, (t + 1) * topK] as const;
    routeRow(
      data.subarray(t * experts, (t + 1) * experts),
      routerIndices.data.subarray(...slots) as Int32Array,
      weights.data.subarray(...slots) as Float32Array,
    );
  }
  if (!onInput) return { routerIndices, routerWeights: weights };
  const routerWeights = zeros("f32", [tokens, topK]);
  routerWeights.data.fill(1);
  return { routerIndices, routerWeights, inputWeights: weights };
}

/** A function that routes one token: reads its logits, writes its experts and their weights. */
function rowRouter(
  { before, after, experts, topK, groups, topGroups, renormalize, epsilon, scale, jitter }: Router,
  correctionBias: Tensor | undefined,
): (logits: ArrayLike<number>, chosen: Int32Array, weights: Float32Array) => void {
  const offsets = correctionBias?.data;
  const scores = new Float64Array(experts), values = new Float64Array(topK), keys = new Float32Array(experts);
  const onScores = offsets !== undefined || groups > 1;
  return (logits, chosen, weights) => {
    scores.set(logits);
    keys.set(logits);
    score(before, scores);
    if (onScores) keys.set(scores);
    if (offsets) { for (let e = 0; e < experts; e++) keys[e]! += offsets[e]!; }
    chooseInGroups(keys, groups, topGroups, chosen);
    for (let k = 0; k < topK; k++) values[k] = scores[chosen[k]!]!;
    if (after === "sparse-mixer") mix(scores, chosen, jitter, values);
    else score(after, values);
    const sum = renormalize ? values.reduce((sum, value) => sum + value) + epsilon : 1;
    for (let k = 0; k < topK; k++) weights[k] = values[k]! / sum * scale;
  };
}

/** Turns logits into scores, in double precision. */
function score(scoring: Scoring, values: Float64Array): void {
  if (scoring === "softmax") softmax(values);
  else if (scoring === "sigmoid") map(values, (x) => 1 / (1 + Math.exp(-x)));
  else if (scoring === "sqrt-softplus") {
    map(values, (x) => Math.sqrt(Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))));
  }
}

function map(values: Float64Array, change: (value: number) => number): void {
  for (let i = 0; i < values.length; i++) values[i] = change(values[i]!);
}

function softmax(values: Float64Array): void {
  let max = -Infinity;
  for (let i = 0; i < values.length; i++) max = Math.max(max, values[i]!);
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] = Math.exp(values[i]! - max);
  for (let i = 0; i < values.length; i++) values[i]! /= sum;
}

/** SparseMixer's weights: each chosen expert's share in a softmax over the logits near its own, without those chosen before. */
function mix(logits: Float64Array, chosen: Int32Array, jitter: number, weights: Float64Array): void {
  const left = new Set(logits.keys());
  chosen.forEach((expert, k) => {
    const most = logits[expert]!;
    let sum = 0;
    for (const e of left) {
      const x = logits[e]!;
      const isFar = (most - x) / Math.max(Math.abs(x), most) > 2 * jitter; // NaN is not
      if (!isFar) sum += Math.exp(x - most);
    }
    weights[k] = 1 / sum;
    left.delete(expert);
  });
}

/** Chooses the largest keys among those of the best groups: the ones whose two largest keys have the largest sum. */
function chooseInGroups(keys: Float32Array, groups: number, topGroups: number, chosen: Int32Array): void {
  if (groups === 1) return chooseLargest(keys, chosen);
  const size = keys.length / groups;
  const best = new Int32Array(2), sums = new Float32Array(groups), chosenGroups = new Int32Array(topGroups);
  for (let g = 0; g < groups; g++) {
    const group = keys.subarray(g * size, (g + 1) * size);
    chooseLargest(group, best);
    sums[g] = group[best[0]!]! + group[best[1]!]!;
  }
  chooseLargest(sums, chosenGroups);
  const candidates = new Float32Array(topGroups * size);
  chosenGroups.sort().forEach((g, i) => candidates.set(keys.subarray(g * size, (g + 1) * size), i * size));
  chooseLargest(candidates, chosen);
  for (let k = 0; k < chosen.length; k++) {
    chosen[k] = chosenGroups[Math.floor(chosen[k]! / size)]! * size + chosen[k]! % size;
  }
}

/**
 * Finds where the largest values are, in descending order: insertion into a sorted list, for that is short. Only a larger
 * value moves past another, so ties keep index order.
 */
function chooseLargest(values: Float32Array, chosen: Int32Array): void {
  const last = chosen.length - 1;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (i > last && !isLarger(value, values[chosen[last]!]!)) continue;
    let slot = Math.min(i, last);
    for (; slot > 0 && isLarger(value, values[chosen[slot - 1]!]!); slot--) chosen[slot] = chosen[slot - 1]!;
    chosen[slot] = i;
  }
}

/** Compares numbers, NaN being the largest. */
function isLarger(a: number, b: number): boolean {
  return a > b || (a !== a && b === b);
}

/**
 * Spreads the weights of each token's K experts over all E: zeros but for those.
 *
 * @param routing What {@linkcode route} returned.
 * @param experts E.
 * @returns [T, E], f32.
 * @throws {TypeError} If the indices are not of dtype i32.
 * @throws {RangeError} If an index is not below `experts`, or the shapes differ.
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
  const [tokens, topK] = indexMatrix(routerIndices);
  checkTensor("routerWeights", routerWeights);
  if (formatShape(routerWeights.shape) !== formatShape(routerIndices.shape)) {
    throw new RangeError(
      `routerWeights must have the shape of routerIndices, ${formatShape(routerIndices.shape)}, got ${
        formatShape(routerWeights.shape)
      }`,
    );
  }
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
 * @throws {TypeError} If the indices are not of dtype i32.
 * @throws {RangeError} If an index is not below `experts`, or that is no non-negative integer.
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
  indexMatrix(routerIndices);
  if (!Number.isSafeInteger(experts) || experts < 0) {
    throw new RangeError(`experts must be a non-negative integer, got ${describeValue(experts)}`);
  }
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
 * @throws {RangeError} If the capacity is below zero or no number.
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
  if (!(typeof capacity === "number" && capacity >= 0)) {
    throw new RangeError(`capacity must be a number of at least 0, got ${describeValue(capacity)}`);
  }
  let kept = 0;
  for (const count of counts) kept += Math.min(count, capacity);
  return kept;
}

function indexMatrix(indices: Tensor): [number, number] {
  checkTensor("routerIndices", indices);
  if (indices.dtype !== "i32") throw new TypeError(`routerIndices must be of dtype i32, got ${indices.dtype}`);
  return matrix("routerIndices", indices);
}

function expertAt(indices: Tensor, at: number, experts: number): number {
  const index = indices.data[at]!;
  if (index >= 0 && index < experts) return index;
  throw new RangeError(`routerIndices must hold integers from 0 to ${experts - 1}, got ${index} at element ${at}`);
}

function matrix(name: string, { shape }: Tensor): [number, number] {
  if (shape.length !== 2) throw new RangeError(`${name} must be a matrix, got shape ${formatShape(shape)}`);
  return [shape[0]!, shape[1]!];
}
