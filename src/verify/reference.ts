// The float64 reference of `experts`, one token at a time.
import type { Activation, DenseInputs } from "../contract/experts.ts";
import { gateUpColumns } from "../contract/experts_sizes.ts";
import type { ResolvedExperts } from "../contract/resolve_experts.ts";

/**
 * Returns for each assignment whether it is within the capacity.
 *
 * @param before The assignments of each expert that come before these. Defaults to none.
 */
export function keptMask(
  indices: ArrayLike<number>,
  { experts, capacity }: ResolvedExperts,
  before: ArrayLike<number> = { length: 0 },
): boolean[] {
  const taken = Int32Array.from({ length: experts }, (_, e) => before[e] ?? 0);
  return Array.from(indices, (e) => taken[e]!++ < capacity);
}

/** Computes the output row of one token in float64. */
export function referenceRow(
  inputs: DenseInputs,
  shape: ResolvedExperts,
  kept: readonly boolean[],
  token: number,
): Float64Array {
  const { hidden, topK, experts, denseWeights } = shape;
  const row = new Float64Array(hidden);
  for (let k = 0; k < topK; k++) {
    const assignment = token * topK + k;
    if (!kept[assignment]) continue;
    const e = inputs.routerIndices.data[assignment]!;
    const weight = inputs.routingWeights.data[denseWeights ? token * experts + e : assignment]!;
    const expertRow = expertOutput(inputs, shape, token, e, inputs.inputWeights?.data[assignment] ?? 1);
    for (let h = 0; h < hidden; h++) row[h]! += weight * expertRow[h]!;
  }
  const { addend, addendWeights } = inputs;
  if (addend) {
    const weight = addendWeights?.data[token] ?? 1;
    for (let h = 0; h < hidden; h++) row[h]! += weight * addend.data[token * hidden + h]!;
  }
  return row;
}

function expertOutput(
  inputs: DenseInputs,
  shape: ResolvedExperts,
  token: number,
  e: number,
  scale: number,
): Float64Array {
  const { hidden, intermediate, gated, gateUpLayout, weightLayout } = shape;
  const activate = activations[shape.activation];
  const x = Float64Array.from(
    inputs.hiddenStates.data.subarray(token * hidden, (token + 1) * hidden),
    (x) => x * scale,
  );
  const width = gateUpColumns(shape), outIn = weightLayout === "out-in";
  const first = addProduct(x, inputs.gateUpProj.data, e, biasRow(inputs.gateUpProjBias?.data, e, width), outIn);
  const interleaved = gateUpLayout === "interleaved";
  const a = new Float64Array(intermediate);
  for (let i = 0; i < intermediate; i++) {
    const gate = first[gated && interleaved ? 2 * i : i]!;
    const up = gated ? first[interleaved ? 2 * i + 1 : intermediate + i]! : 1;
    a[i] = activate(gate, up, shape);
  }
  return addProduct(a, inputs.downProj.data, e, biasRow(inputs.downProjBias?.data, e, hidden), outIn);
}

type ActivationFunction = (gate: number, up: number, options: ResolvedExperts) => number;

/** The activations. Without a gate, `gate` is the projection and `up` is 1. */
const activations: Readonly<Record<Activation, ActivationFunction>> = {
  "swiglu-oai": (gate, up, { activationAlpha: alpha, activationLimit: limit }) => {
    const g = Math.min(gate, limit);
    return g / (1 + Math.exp(-alpha * g)) * (clamp(up, limit) + 1);
  },
  "silu": (gate, up, { activationLimit: limit }) => silu(Math.min(gate, limit)) * clamp(up, limit),
  "gelu": (gate, up) => gate / 2 * (1 + erf(gate / Math.SQRT2)) * up,
  "gelu-tanh": (gate, up) => gate / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (gate + 0.044715 * gate ** 3))) * up,
  "relu": (gate, up) => Math.max(gate, 0) * up,
  "relu2": (gate, up) => Math.max(gate, 0) ** 2 * up,
};

function silu(x: number): number {
  return x / (1 + Math.exp(-x));
}

function clamp(x: number, limit: number): number {
  return Math.max(-limit, Math.min(x, limit));
}

/** The error function as (2 / √π) e^(−x²) Σ 2ⁿ x²ⁿ⁺¹ / (1 · 3 · … · (2n + 1)). All terms have the same sign. */
function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let sum = 0;
  for (let n = 0, term = x; sum + term !== sum; n++, term *= 2 * x * x / (2 * n + 1)) sum += term;
  return 2 / Math.sqrt(Math.PI) * Math.exp(-x * x) * sum;
}

function biasRow(bias: ArrayLike<number> | undefined, e: number, width: number): Float64Array {
  return Float64Array.from({ length: width }, (_, i) => bias?.[e * width + i] ?? 0);
}

/** sums += x · weights[e], where weights[e] is [x.length, sums.length], or its transpose if `outIn`. */
function addProduct(
  x: ArrayLike<number>,
  weights: ArrayLike<number>,
  e: number,
  sums: Float64Array,
  outIn: boolean,
): Float64Array {
  const width = sums.length, start = e * x.length * width;
  const [rowStep, columnStep] = outIn ? [1, x.length] : [width, 1];
  for (let k = 0; k < x.length; k++) {
    const value = x[k]!;
    for (let n = 0; n < width; n++) sums[n]! += value * weights[start + k * rowStep + n * columnStep]!;
  }
  return sums;
}
