// The activations, and which of the options each takes. The compiler checks that the table has every activation.
import type { Activation } from "./experts.ts";

/** What an activation needs and takes. */
export interface ActivationRule {
  /** Whether the activation works without a gate, on one projection. */
  readonly ungated: boolean;
  /** The options that the activation takes when it has a gate, with their defaults. */
  readonly options: { readonly activationAlpha?: number; readonly activationLimit?: number };
}

/** Every activation. */
export const activationRules: Readonly<Record<Activation, ActivationRule>> = {
  "swiglu-oai": { ungated: false, options: { activationAlpha: 1.702, activationLimit: 7 } },
  "silu": { ungated: true, options: { activationLimit: Infinity } },
  "gelu": { ungated: true, options: {} },
  "gelu-tanh": { ungated: true, options: {} },
  "relu2": { ungated: true, options: {} },
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
