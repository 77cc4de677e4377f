// A layer as the families' modeling code defines it, in float64. Shares no code with the product.

/** A matrix, row by row. */
export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly values: Float64Array;
}

/** An expert: linear layers with [out, in] weights. */
export interface Expert {
  /** Absent for experts without a gate. */
  readonly gate?: Matrix;
  readonly up: Matrix;
  readonly down: Matrix;
  readonly biases?: { readonly gate: Float64Array; readonly up: Float64Array; readonly down: Float64Array };
}

/** How a family's code computes. */
export interface Definition {
  /** What is done to the logits before the choice. "logits": nothing, and a softmax or sigmoid of the chosen follows. */
  readonly scores: "softmax" | "sigmoid" | "sqrtsoftplus" | "logits-softmax" | "logits-sigmoid-input" | "sparse-mixer";
  readonly topK: number;
  /** Groups of experts. Only those with the largest sum of their best scores, two unless `ranking` says one, are open to a token. */
  readonly groups?: readonly [groups: number, top: number, ranking?: 1 | 2];
  readonly renormalize?: boolean;
  readonly scale?: number;
  readonly jitter?: number;
  readonly activation: "silu" | "gelu" | "gelu-tanh" | "relu" | "relu2" | "swigluoai";
  /** Clamps gate from above and up on both sides, before the activation. */
  readonly limit?: number;
  /** Logits become cap · tanh(x / cap). */
  readonly logitCap?: number;
  /** The number of tokens that each expert keeps. */
  readonly capacity?: number;
  /** The epsilon of the layer's norms. */
  readonly epsilon?: number;
}

/** All weights of a layer. */
export interface LayerWeights {
  readonly router: Matrix;
  readonly routerBias?: Float64Array;
  readonly correctionBias?: Float64Array;
  /** The experts of each token, if a table of token ids chooses them. */
  readonly chosen?: readonly (readonly number[])[];
  readonly experts: readonly Expert[];
  readonly shared?: Expert;
  readonly sharedGate?: Matrix;
  /** Linear layers around the routed experts. */
  readonly latent?: { readonly input: Matrix; readonly output: Matrix };
  /** The weights of the norms before the router and before the experts, and the scale of each expert. */
  readonly norms?: {
    readonly router: Float64Array;
    readonly experts: Float64Array;
    readonly expertScale: Float64Array;
  };
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);

function softmax(values: readonly number[]): number[] {
  const powers = values.map((x) => Math.exp(x - Math.max(...values)));
  return powers.map((power) => power / sum(powers));
}

function best(values: readonly number[], count: number): number[] {
  return [...values.keys()].sort((a, b) => values[b]! - values[a]! || a - b).slice(0, count);
}

function times({ rows, columns, values }: Matrix, x: readonly number[], bias?: Float64Array): number[] {
  return Array.from({ length: rows }, (_, r) => {
    let total = bias?.[r] ?? 0;
    for (let c = 0; c < columns; c++) total += values[r * columns + c]! * x[c]!;
    return total;
  });
}

/** Sums 2/√π · e^(−x²) · Σ 2ⁿ x²ⁿ⁺¹ / (2n + 1)!!, whose terms all have one sign. */
function errorFunction(x: number): number {
  let term = x, total = x;
  for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(total); n++) total += term *= 2 * x * x / (2 * n + 1);
  return 2 / Math.sqrt(Math.PI) * Math.exp(-x * x) * total;
}

function activate({ activation, limit = Infinity }: Definition, gate: number, up: number): number {
  const g = Math.min(gate, limit), u = Math.max(-limit, Math.min(up, limit));
  if (activation === "swigluoai") return (u + 1) * g * sigmoid(1.702 * g);
  if (activation === "silu") return g * sigmoid(g) * u;
  if (activation === "gelu") return gate / 2 * (1 + errorFunction(gate / Math.SQRT2)) * up;
  if (activation === "relu") return Math.max(gate, 0) * up;
  if (activation === "relu2") return Math.max(gate, 0) ** 2 * up;
  return gate / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (gate + 0.044715 * gate ** 3))) * up;
}

/** Rounds a number that is stored to a dtype. */
export type Round = (value: number) => number;

const noRounding: Round = (value) => value;

const bits = new DataView(new ArrayBuffer(4));

/** Rounds to bf16: to the nearest, ties to even. */
export const roundToBf16: Round = (value) => {
  bits.setFloat32(0, value);
  const pattern = bits.getUint32(0);
  bits.setUint32(0, (pattern + 0x7fff + (pattern >>> 16 & 1)) & 0xffff0000);
  return bits.getFloat32(0);
};

/** The biases are rounded, the activations, and the expert's row. */
function expertOf(
  definition: Definition,
  { gate, up, down, biases }: Expert,
  x: readonly number[],
  round: Round,
): number[] {
  const ups = times(up, x, biases?.up.map(round));
  const inner = gate
    ? times(gate, x, biases?.gate.map(round)).map((g, i) => activate(definition, g, ups[i]!))
    : ups.map((u) => activate(definition, u, 1));
  return times(down, inner.map(round), biases?.down.map(round)).map(round);
}

function normalized(x: readonly number[], weight: Float64Array, epsilon: number): number[] {
  const root = Math.sqrt(sum(x.map((value) => value * value)) / x.length + epsilon);
  return x.map((value, i) => value / root * weight[i]!);
}

function route(
  definition: Definition,
  products: number[],
  bias?: Float64Array,
  given?: readonly number[],
): { chosen: number[]; weights: number[] } {
  const { scores: kind, topK, groups, renormalize, scale = 1, logitCap: cap } = definition;
  const logits = cap ? products.map((x) => cap * Math.tanh(x / cap)) : products;
  if (kind === "logits-softmax" || kind === "logits-sigmoid-input") {
    const chosen = best(logits, topK), values = chosen.map((e) => logits[e]!);
    return { chosen, weights: kind === "logits-softmax" ? softmax(values) : values.map(sigmoid) };
  }
  if (kind === "sparse-mixer") {
    const left = new Set(logits.keys()), chosen: number[] = [], weights: number[] = [];
    for (let k = 0; k < topK; k++) {
      const e = best(logits.map((x, i) => left.has(i) ? x : -Infinity), 1)[0]!, top = logits[e]!;
      const near = [...left].filter((i) =>
        (top - logits[i]!) / Math.max(Math.abs(logits[i]!), top) <= 2 * definition.jitter!
      );
      chosen.push(e);
      weights.push(1 / sum(near.map((i) => Math.exp(logits[i]! - top))));
      left.delete(e);
    }
    return { chosen, weights };
  }
  const scores = kind === "softmax"
    ? softmax(logits)
    : logits.map((x) => kind === "sigmoid" ? sigmoid(x) : Math.sqrt(Math.log1p(Math.exp(x))));
  let choice = scores.map((score, e) => score + (bias?.[e] ?? 0));
  if (groups) {
    const size = logits.length / groups[0];
    const members = Array.from({ length: groups[0] }, (_, g) => choice.slice(g * size, (g + 1) * size));
    const open = best(members.map((scores) => sum(best(scores, groups[2] ?? 2).map((i) => scores[i]!))), groups[1]);
    choice = choice.map((score, e) => open.includes(Math.floor(e / size)) ? score : -Infinity);
  }
  const chosen = given ? [...given] : best(choice, topK), weights = chosen.map((e) => scores[e]!);
  const total = renormalize ? sum(weights) : 1;
  return { chosen, weights: weights.map((weight) => weight / total * scale) };
}

/**
 * Computes the layer's output, [T, H].
 *
 * @param round Rounds what an implementation stores: biases and the shared expert's gate, the experts' normalized input, the
 * activations, each expert's row, the states around latent experts, and the output. By default, nothing is rounded.
 */
export function computeLayer(
  definition: Definition,
  layer: LayerWeights,
  hidden: Matrix,
  round: Round = noRounding,
): Float64Array {
  const { rows, columns, values } = hidden;
  const output = new Float64Array(rows * columns);
  const add = (t: number, y: readonly number[], weight: number) =>
    y.forEach((value, h) => output[t * columns + h]! += weight * value);
  const rounded = (matrix: Matrix): Matrix => ({ ...matrix, values: matrix.values.map(round) });
  const leaveLatent = (output: Matrix, sum: readonly number[]) =>
    times(output, sum.slice(0, output.columns).map(round)).map(round);
  const load = layer.experts.map(() => 0);
  for (let t = 0; t < rows; t++) {
    const x = [...values.subarray(t * columns, (t + 1) * columns)];
    const { norms } = layer, { epsilon = 0 } = definition;
    const scaled = norms && normalized(x, norms.router, epsilon).map((value) => value * columns ** -0.5);
    const { chosen, weights } = route(
      definition,
      times(layer.router, scaled ?? x, layer.routerBias),
      layer.correctionBias,
      layer.chosen?.[t],
    );
    if (norms) chosen.forEach((e, k) => weights[k]! *= norms.expertScale[e]!);
    const sum: number[] = Array(columns).fill(0);
    const onInput = definition.scores === "logits-sigmoid-input";
    chosen.forEach((e, k) => {
      if (load[e]!++ >= (definition.capacity ?? Infinity)) return;
      const states = norms ? normalized(x, norms.experts, epsilon).map(round) : x;
      const inner = layer.latent ? times(layer.latent.input, x).map(round) : states;
      const input = onInput ? inner.map((value) => value * weights[k]!) : inner;
      expertOf(definition, layer.experts[e]!, input, round).forEach((y, h) =>
        sum[h]! += (onInput ? 1 : weights[k]!) * y
      );
    });
    add(t, layer.latent ? leaveLatent(layer.latent.output, sum) : sum, 1);
    if (!layer.shared) continue;
    const factor = layer.sharedGate ? sigmoid(times(rounded(layer.sharedGate), x)[0]!) : 1;
    add(t, expertOf(definition, layer.shared, x, round), factor);
  }
  return output.map(round);
}
