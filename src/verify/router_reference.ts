// The float64 reference of routing. It follows the definitions of the routers and selects experts by sorting.
import type { RouterKind, RouterOptions } from "../routing/router.ts";

/** One token's experts, best first, and their weights. */
export interface ReferenceRouting {
  readonly experts: number[];
  readonly weights: number[];
}

const total = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0);
const shares = (values: readonly number[]) => values.map((value) => value / total(values));
const softmax = (logits: readonly number[]) => shares(logits.map((x) => Math.exp(x - Math.max(...logits))));
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const sqrtSoftplus = (x: number) => Math.sqrt(Math.log(1 + Math.exp(x)));

/** The indices of the largest values among the candidates, in descending order of value. */
const best = (values: readonly number[], count: number, candidates: readonly number[] = [...values.keys()]) =>
  candidates.toSorted((a, b) => values[b]! - values[a]! || a - b).slice(0, count);

/** Routes one token. */
export function referenceRouting(logits: readonly number[], options: RouterOptions): ReferenceRouting {
  const { kind = "softmax", topK, scale = 1 } = options;
  const { experts, weights } = rules[kind](logits, { ...options, topK });
  return { experts, weights: weights.map((weight) => weight * Math.fround(scale)) };
}

const rules: Readonly<Record<RouterKind, typeof referenceRouting>> = {
  "softmax": (logits, { topK }) => {
    const experts = best(logits, topK), scores = softmax(logits);
    return { experts, weights: experts.map((e) => scores[e]!) };
  },
  "softmax-renormalize": (logits, { topK }) => {
    const experts = best(logits, topK), scores = softmax(logits);
    return { experts, weights: shares(experts.map((e) => scores[e]!)) };
  },
  "softmax-grouped": (logits, options) => {
    const scores = softmax(logits), experts = inGroups(scores, options, 1);
    return { experts, weights: experts.map((e) => scores[e]!) };
  },
  "topk-softmax": (logits, { topK }) => {
    const experts = best(logits, topK);
    return { experts, weights: softmax(experts.map((e) => logits[e]!)) };
  },
  "sigmoid-input": (logits, { topK }) => {
    const experts = best(logits, topK);
    return { experts, weights: experts.map((e) => sigmoid(logits[e]!)) };
  },
  "sigmoid": (logits, options) => corrected(logits.map(sigmoid), options),
  "sigmoid-grouped": (logits, options) => corrected(logits.map(sigmoid), options),
  "sqrt-softplus": (logits, options) => corrected(logits.map(sqrtSoftplus), options),
  "sparse-mixer": (logits, { topK, jitter = 0.01 }) => {
    const experts = best(logits, topK);
    const weights = experts.map((chosen, k) => {
      const x = logits[chosen]!;
      const left = logits.filter((_, e) => !experts.slice(0, k).includes(e));
      const near = left.filter((y) => x - y <= 2 * Math.fround(jitter) * Math.max(Math.abs(y), x));
      return 1 / total(near.map((y) => Math.exp(y - x)));
    });
    return { experts, weights };
  },
};

/** Chooses experts from the best groups by score plus bias. The weights are the shares of the scores without the bias. */
function corrected(scores: readonly number[], options: RouterOptions) {
  const experts = inGroups(scores.map((score, e) => score + (options.correctionBias?.data[e] ?? 0)), options, 2);
  return { experts, weights: shares(experts.map((e) => scores[e]!)) };
}

/** Chooses the largest keys of the best groups, which are ranked by the sum of their largest `ranking` keys. */
function inGroups(
  keys: readonly number[],
  { topK, groups = 1, topGroups = groups }: RouterOptions,
  ranking: number,
): number[] {
  const size = keys.length / groups;
  const members = Array.from({ length: groups }, (_, g) => Array.from({ length: size }, (_, i) => g * size + i));
  const ofGroup = members.map((group) => total(best(keys, ranking, group).map((e) => keys[e]!)));
  return best(keys, topK, best(ofGroup, topGroups).flatMap((g) => members[g]!));
}
