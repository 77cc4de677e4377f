// `experts` as its contract reads, one number after the other in float64. Shares no code with the product.
import type { Activation, DenseInputs, ExpertsOptions } from "../src/contract/experts.ts";
import type { DType, Tensor } from "../src/tensor/tensor.ts";

/** What the naive model finds, [T, H] each. */
export interface NaiveResult {
  /** Float64 all the way. */
  readonly exact: Float64Array;
  /** How far a result may be from that, by the roundings that the contract has and those of f32 sums. */
  readonly tolerance: Float64Array;
  /** The number of assignments that were kept. */
  readonly kept: number;
}

/** The most that rounding to a dtype changes a number: relatively, and where numbers are so small that they lose bits. */
const rounding: Readonly<Record<DType, { readonly relative: number; readonly least: number }>> = {
  f16: { relative: 2 ** -11, least: 2 ** -25 },
  bf16: { relative: 2 ** -8, least: 2 ** -134 },
  f32: { relative: 2 ** -24, least: 2 ** -150 },
  i32: { relative: 0, least: 0 },
  u8: { relative: 0, least: 0 },
};

/** What an f32 sum of `count` terms may lose, relative to the sum of their magnitudes; large next to what it mostly loses. */
function sumError(count: number): number {
  return 2 ** -22 * Math.sqrt(count);
}

/** What an f32 activation may lose of its result. */
const activationError = 2 ** -20;

/** A tensor's numbers. */
export function numbers({ dtype, data }: Tensor): Float64Array {
  if (dtype !== "bf16") return Float64Array.from(data);
  const word = new DataView(new ArrayBuffer(4));
  return Float64Array.from(data, (bits) => {
    word.setUint16(0, bits);
    return word.getFloat32(0);
  });
}

/** The error function: (2 / √π) e^(−x²) Σ 2ⁿ x²ⁿ⁺¹ / (1 · 3 · … · (2n + 1)), whose terms all have one sign. */
export function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let sum = 0;
  for (let n = 0, term = x; sum + term !== sum; n++, term *= 2 * x * x / (2 * n + 1)) sum += term;
  return 2 / Math.sqrt(Math.PI) * Math.exp(-x * x) * sum;
}

const logistic = (x: number) => 1 / (1 + Math.exp(-x));

/** Activations of one number; those with a gate multiply them by the up projection. */
export const plain: Readonly<Record<Exclude<Activation, "swiglu-oai">, (x: number) => number>> = {
  "silu": (x) => x * logistic(x),
  "gelu": (x) => x / 2 * (1 + erf(x / Math.SQRT2)),
  "gelu-tanh": (x) => x / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  "relu": (x) => Math.max(x, 0),
  "relu2": (x) => Math.max(x, 0) ** 2,
};

function activationOf(
  {
    activation = "swiglu-oai",
    activationAlpha: alpha = 1.702,
    activationLimit: limit = activation === "swiglu-oai" ? 7 : Infinity,
    gated = true,
  }: ExpertsOptions,
): (gate: number, up: number) => number {
  if (activation === "silu" && gated) {
    return (gate, up) => plain.silu(Math.min(gate, limit)) * Math.max(-limit, Math.min(up, limit));
  }
  if (activation !== "swiglu-oai") return gated ? (gate, up) => plain[activation](gate) * up : plain[activation];
  return (gate, up) => {
    const g = Math.min(gate, limit);
    return g * logistic(alpha * g) * (Math.max(-limit, Math.min(up, limit)) + 1);
  };
}

/** Computes the op without regard to speed. */
export function naiveExperts(inputs: DenseInputs, options: ExpertsOptions = {}): NaiveResult {
  const [T, H] = inputs.hiddenStates.shape as [number, number];
  const K = inputs.routerIndices.shape[1]!;
  const { gated = true, weightLayout = "in-out", expertCapacity = Infinity } = options;
  const outIn = weightLayout === "out-in";
  const [E, , I] = outIn
    ? inputs.downProj.shape as [number, number, number]
    : [inputs.downProj.shape[0]!, 0, inputs.downProj.shape[1]!];
  const W = gated ? 2 * I : I;
  const dense = inputs.routingWeights.shape[1] !== K || options.routingWeightsLayout === "dense";
  const x = numbers(inputs.hiddenStates), routing = numbers(inputs.routingWeights);
  const gateUp = numbers(inputs.gateUpProj), down = numbers(inputs.downProj);
  const gateUpBias = inputs.gateUpProjBias && numbers(inputs.gateUpProjBias);
  const downBias = inputs.downProjBias && numbers(inputs.downProjBias);
  const { relative, least } = rounding[inputs.hiddenStates.dtype];
  const rounded = (value: number) => relative * Math.abs(value) + least;
  const activate = activationOf(options);
  const concatenated = options.gateUpLayout === "concatenated";
  const gateColumn = (i: number) => gated && !concatenated ? 2 * i : i;
  const upColumn = (i: number) => concatenated ? I + i : 2 * i + 1;

  /** One column of the gate-up product of an assignment, and what f32 may lose of it. */
  const project = (assignment: number, e: number, column: number) => {
    const t = Math.floor(assignment / K), scale = inputs.inputWeights?.data[assignment] ?? 1;
    let sum = gateUpBias?.[e * W + column] ?? 0, size = Math.abs(sum);
    for (let h = 0; h < H; h++) {
      const product = scale * x[t * H + h]! * gateUp[outIn ? (e * W + column) * H + h : (e * H + h) * W + column]!;
      sum += product;
      size += Math.abs(product);
    }
    return { sum, error: (sumError(H + 1) + 2 ** -24) * size };
  };

  const exact = new Float64Array(T * H), tolerance = new Float64Array(T * H);
  const a = new Float64Array(I), aError = new Float64Array(I);
  const taken = new Array<number>(E).fill(0);
  let kept = 0;
  for (let t = 0; t < T; t++) {
    for (let k = 0; k < K; k++) {
      const e = inputs.routerIndices.data[t * K + k]!;
      if (taken[e]! >= expertCapacity) continue;
      taken[e]! += 1;
      kept += 1;
      for (let i = 0; i < I; i++) {
        const g = project(t * K + k, e, gateColumn(i));
        const u = gated ? project(t * K + k, e, upColumn(i)) : { sum: 0, error: 0 };
        const value = activate(g.sum, u.sum);
        const corners = [-1, 1].flatMap((s) =>
          [-1, 1].map((r) => Math.abs(activate(g.sum + s * g.error, u.sum + r * u.error) - value))
        );
        a[i] = value;
        aError[i] = Math.max(...corners) + activationError * Math.abs(value) + rounded(value);
      }
      const w = routing[dense ? t * E + e : t * K + k]!;
      for (let h = 0; h < H; h++) {
        let y = downBias?.[e * H + h] ?? 0, size = Math.abs(y), error = 0;
        for (let i = 0; i < I; i++) {
          const weight = down[outIn ? (e * H + h) * I + i : (e * I + i) * H + h]!;
          y += a[i]! * weight;
          size += Math.abs(a[i]! * weight);
          error += aError[i]! * Math.abs(weight);
        }
        error += sumError(I + 1) * size + rounded(y);
        exact[t * H + h]! += w * y;
        tolerance[t * H + h]! += Math.abs(w) * (error + sumError(K) * Math.abs(y));
      }
    }
  }
  const { addend, addendWeights } = inputs;
  for (const [i, value] of (addend ? numbers(addend) : []).entries()) {
    exact[i]! += value * (addendWeights?.data[Math.floor(i / H)] ?? 1);
    tolerance[i]! += sumError(1) * Math.abs(value);
  }
  for (const [i, value] of exact.entries()) tolerance[i]! += rounded(Math.abs(value) + tolerance[i]!);
  return { exact, tolerance, kept };
}
