// Routers as the models' own code reads, and a whole layer, in float64. Shares no code with the product but `convert`.
import type { MoeLayer, MoeOptions } from "../src/contract/moe.ts";
import type { RouterOptions } from "../src/routing/router.ts";
import { convert, type DType, type Tensor, tensor } from "../src/tensor/tensor.ts";
import { naiveExperts, numbers } from "./naive.ts";

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const softplus = (x: number) => x > 30 ? x : Math.log(1 + Math.exp(x));
const total = (values: number[]) => values.reduce((sum, value) => sum + value, 0);
const softmax = (values: number[]) => {
  const most = values.some(Number.isNaN) ? NaN : Math.max(...values);
  const powers = values.map((x) => Math.exp(x - most));
  return powers.map((power) => power / total(powers));
};

/** Where the largest are, NaN before all, the first among equals. */
function largest(values: number[], count: number, from = [...values.keys()]): number[] {
  const rank = (e: number) => Number.isNaN(values[e]!) ? Infinity : values[e]!;
  const isNaN = (e: number) => Number(Number.isNaN(values[e]!));
  const order = (a: number, b: number) =>
    isNaN(b) - isNaN(a) || (rank(a) === rank(b) ? a - b : rank(b) > rank(a) ? 1 : -1);
  return from.toSorted(order).slice(0, count);
}

/** The experts of the groups whose largest scores, `ranking` of them, have the largest sums. */
function inBestGroups(choice: number[], groups: number, topGroups: number, ranking: number): number[] {
  const size = choice.length / groups;
  const members = (g: number) => [...Array(size).keys()].map((i) => g * size + i);
  const sums = [...Array(groups).keys()].map((g) => total(largest(choice, ranking, members(g)).map((e) => choice[e]!)));
  return largest(sums, topGroups).toSorted((a, b) => a - b).flatMap(members);
}

/** One token's experts and weights. */
export function naiveRoute(logits: number[], options: RouterOptions): { experts: number[]; weights: number[] } {
  const { kind = "softmax", topK, correctionBias, groups = 1, topGroups = groups, scale = 1, epsilon } = options;
  const bias = correctionBias && numbers(correctionBias);
  const biased = (scores: number[]) => scores.map((score, e) => bias ? Math.fround(score) + bias[e]! : score);
  const scaled = (weights: number[]) => weights.map((weight) => weight * scale);
  const shares = (weights: number[], epsilon = 0) => weights.map((weight) => weight / (total(weights) + epsilon));
  switch (kind) {
    case "softmax":
    case "softmax-grouped":
    case "softmax-renormalize": {
      const scores = softmax(logits);
      const choice = bias || groups > 1 ? biased(scores.map(Math.fround)) : logits;
      const experts = largest(choice, topK, inBestGroups(choice, groups, topGroups, 1));
      const weights = experts.map((e) => scores[e]!);
      const isShare = options.renormalize ?? kind === "softmax-renormalize";
      return { experts, weights: scaled(isShare ? shares(weights, epsilon ?? 0) : weights) };
    }
    case "topk-softmax": {
      const experts = largest(logits, topK);
      return { experts, weights: scaled(softmax(experts.map((e) => logits[e]!))) };
    }
    case "sparse-mixer": {
      const experts = largest(logits, topK);
      const weights = experts.map((chosen, k) => {
        const x = logits[chosen]!, limit = 2 * Math.fround(options.jitter ?? 0.01);
        const others = logits.filter((_, e) => !experts.slice(0, k).includes(e));
        const near = others.filter((y) => !((x - y) / Math.max(Math.abs(y), x) > limit));
        return Math.exp(0) / total(near.map((y) => Math.exp(y - x)));
      });
      return { experts, weights: scaled(weights) };
    }
    case "sigmoid-input": {
      const experts = largest(logits, topK);
      return { experts, weights: scaled(experts.map((e) => sigmoid(logits[e]!))) };
    }
    default: {
      const scores = logits.map((x) => kind === "sqrt-softplus" ? Math.sqrt(softplus(x)) : sigmoid(x));
      const choice = biased(scores);
      const open = inBestGroups(choice, groups, topGroups, 2);
      const onLogits = !bias && groups === 1;
      const experts = largest(onLogits ? logits : choice, topK, open);
      const weights = experts.map((e) => scores[e]!);
      return { experts, weights: scaled(options.renormalize ?? true ? shares(weights, epsilon ?? 1e-20) : weights) };
    }
  }
}

/** A layer's output and how far a result may be from it. The logits must be exact in f32, for the choice to be certain. */
export function naiveMoe(
  hidden: Tensor,
  layer: MoeLayer<Tensor, Tensor>,
  { expertCapacity }: MoeOptions = {},
): { exact: Float64Array; tolerance: Float64Array } {
  const [T, H] = hidden.shape as [number, number];
  const { router, sharedExpert } = layer;
  const x = numbers(hidden);
  const product = (weight: Tensor, bias: Tensor | undefined, to: DType) => {
    const w = numbers(weight), b = bias && numbers(bias), E = weight.shape[0]!;
    const sums = Float32Array.from(
      { length: T * E },
      (_, i) =>
        (b?.[i % E] ?? 0) + total([...Array(H).keys()].map((h) => x[Math.floor(i / E) * H + h]! * w[i % E * H + h]!)),
    );
    return numbers(convert(tensor(sums, [T, E]), to));
  };
  const E = router.weight.shape[0]!, K = router.options.topK;
  const logits = product(router.weight, router.bias, router.logitsDType ?? "f32");
  const routed = [...Array(T).keys()].map((t) => naiveRoute([...logits.subarray(t * E, (t + 1) * E)], router.options));
  const indices = Int32Array.from(routed.flatMap(({ experts }) => experts));
  const weights = Float32Array.from(routed.flatMap(({ weights }) => weights));
  const onInput = router.options.kind === "sigmoid-input";
  const routingWeights = tensor(onInput ? weights.map(() => 1) as Float32Array : weights, [T, K]);
  const { exact, tolerance } = naiveExperts(
    {
      ...layer,
      hiddenStates: hidden,
      routerIndices: tensor(indices, [T, K]),
      routingWeights,
      inputWeights: onInput ? tensor(weights, [T, K]) : undefined,
    },
    { ...layer, expertCapacity },
  );
  if (sharedExpert) {
    const gate = sharedExpert.gate && product(sharedExpert.gate, undefined, "f32");
    const weights = Float32Array.from({ length: T }, (_, t) => gate ? sigmoid(gate[t]!) : 1);
    const shared = naiveExperts({
      ...sharedExpert,
      hiddenStates: hidden,
      routerIndices: tensor(new Int32Array(T), [T, 1]),
      routingWeights: tensor(weights, [T, 1]),
    }, sharedExpert);
    for (const [i, value] of shared.exact.entries()) {
      exact[i]! += value;
      tolerance[i]! += shared.tolerance[i]!;
    }
  }
  return { exact, tolerance };
}
