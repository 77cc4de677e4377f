// Chooses experts and computes their weights, one token at a time.
import { convert, type Tensor, zeros } from "../tensor/tensor.ts";
import type { Routing } from "./routing.ts";
import type { Router, Scoring } from "./router.ts";

/**
 * Routes tokens with a resolved router.
 *
 * @param chosen [T, K], i32: the experts of each token, if something else than the scores has chosen them.
 */
export function routeTokens(
  logits: Tensor,
  router: Router,
  correctionBias: Tensor | undefined,
  chosen?: Tensor,
): Routing {
  const { topK, onInput, experts } = router;
  const tokens = logits.shape[0] ?? 0;
  const { data } = logits.dtype === "bf16" ? convert(logits, "f32") : logits;
  const routerIndices = chosen ?? zeros("i32", [tokens, topK]);
  const weights = zeros("f32", [tokens, topK]);
  const routeRow = rowRouter(router, correctionBias, chosen !== undefined);
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

/**
 * Makes a function that routes one token: it reads the logits, and writes the experts and their weights.
 *
 * @param isChosen Whether the experts are given.
 */
function rowRouter(
  { before, after, experts, topK, groups, topGroups, groupScores, renormalize, epsilon, scale, jitter }: Router,
  correctionBias: Tensor | undefined,
  isChosen: boolean,
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
    if (!isChosen) chooseInGroups(keys, groups, topGroups, groupScores, chosen);
    for (let k = 0; k < topK; k++) values[k] = scores[chosen[k]!]!;
    if (after === "sparse-mixer") mix(scores, chosen, jitter, values);
    else score(after, values);
    const sum = renormalize ? values.reduce((sum, value) => sum + value) + epsilon : 1;
    for (let k = 0; k < topK; k++) weights[k] = values[k]! / sum * scale;
  };
}

/** Replaces logits by scores, in double precision. */
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

/** Computes SparseMixer's weights: the share of each chosen expert in a softmax over the logits near its own, without earlier choices. */
function mix(logits: Float64Array, chosen: Int32Array, jitter: number, weights: Float64Array): void {
  const left = new Set(logits.keys());
  chosen.forEach((expert, k) => {
    const largest = logits[expert]!;
    let sum = 0;
    for (const e of left) {
      const x = logits[e]!;
      const isFar = (largest - x) / Math.max(Math.abs(x), largest) > 2 * jitter; // false for NaN
      if (!isFar) sum += Math.exp(x - largest);
    }
    weights[k] = 1 / sum;
    left.delete(expert);
  });
}

/** Chooses the largest keys of the best groups: those whose largest keys, `groupScores` of them, have the largest sum. */
function chooseInGroups(
  keys: Float32Array,
  groups: number,
  topGroups: number,
  groupScores: number,
  chosen: Int32Array,
): void {
  if (groups === 1) return chooseLargest(keys, chosen);
  const size = keys.length / groups;
  const best = new Int32Array(groupScores), sums = new Float32Array(groups), chosenGroups = new Int32Array(topGroups);
  for (let g = 0; g < groups; g++) {
    const group = keys.subarray(g * size, (g + 1) * size);
    chooseLargest(group, best);
    sums[g] = group[best[0]!]! + (groupScores > 1 ? group[best[1]!]! : 0);
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
 * Finds the indices of the largest values, in descending order, by insertion into a short sorted list. Only a larger value
 * moves before another, so equal values keep the order of their indices.
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

/** Compares numbers. NaN is the largest. */
function isLarger(a: number, b: number): boolean {
  return a > b || (a !== a && b === b);
}
