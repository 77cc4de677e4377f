// The activations, with everything about them but the arithmetic.

/**
 * The function between the two products. σ is the logistic function and Φ the cumulative normal distribution:
 *
 * | name | with a gate | without |
 * | --- | --- | --- |
 * | `"swiglu-oai"` | g · σ(α g) · (u + 1), where g = min(gate, limit), u = clamp(up, −limit, limit) | |
 * | `"silu"` | g · σ(g) · u, with g and u clamped as above if there is a limit | x · σ(x) |
 * | `"gelu"` | gate · Φ(gate) · up | x · Φ(x) |
 * | `"gelu-tanh"` | the same with ½ + ½ tanh(√(2/π) (x + 0.044715 x³)) for Φ(x) | |
 * | `"relu"` | max(gate, 0) · up | max(x, 0) |
 * | `"relu2"` | max(gate, 0)² · up | max(x, 0)² |
 */
export type Activation = "swiglu-oai" | "silu" | "gelu" | "gelu-tanh" | "relu" | "relu2";

/** What an activation needs and takes. */
export interface ActivationRule {
  /** Whether the activation works without a gate, on one projection. */
  readonly ungated: boolean;
  /** The options that the activation takes when it has a gate, with their defaults. */
  readonly options: { readonly activationAlpha?: number; readonly activationLimit?: number };
  /** The number in the WebAssembly kernels: a constant of src/wasm/assembly/activation.ts. */
  readonly wasm: number;
  /** The number in the CUDA kernels: `enum ActivationKind` of cuda/codes.cuh, where both kinds of SwiGLU are kSwish. */
  readonly cuda: number;
}

/** Every activation. */
export const activationRules: Readonly<Record<Activation, ActivationRule>> = {
  "swiglu-oai": { ungated: false, options: { activationAlpha: 1.702, activationLimit: 7 }, wasm: 1, cuda: 1 },
  "silu": { ungated: true, options: { activationLimit: Infinity }, wasm: 2, cuda: 1 },
  "gelu": { ungated: true, options: {}, wasm: 3, cuda: 2 },
  "gelu-tanh": { ungated: true, options: {}, wasm: 4, cuda: 3 },
  "relu": { ungated: true, options: {}, wasm: 6, cuda: 5 },
  "relu2": { ungated: true, options: {}, wasm: 5, cuda: 4 },
};

/** The names of the activations. */
export const activations = Object.keys(activationRules) as readonly Activation[];

/** Values of the options that belong to some activations only. */
export interface ActivationOptions<Alpha, Limit> {
  readonly activationAlpha: Alpha;
  readonly activationLimit: Limit;
}

/** Picks the options that an activation takes. */
export function activationOptions<Alpha, Limit>(
  { activation = "swiglu-oai", gated = true, ...options }: ActivationOptions<Alpha, Limit> & {
    readonly activation?: Activation | undefined;
    readonly gated?: boolean | undefined;
  },
): Partial<ActivationOptions<Alpha, Limit>> {
  const taken = gated ? activationRules[activation].options : {};
  return Object.fromEntries(Object.entries(options).filter(([name]) => name in taken));
}
