// The options of `experts`, each with its default and its check. The compiler checks that no option is missing.
import { activationRules, activations } from "./activations.ts";
import { expectBoolean, expectFunction, expectOneOf } from "./checks.ts";
import type { ExpertsComputation, ExpertsOptions } from "./experts.ts";
import { checkNames } from "../known_names.ts";
import { describeValue, type DType } from "../tensor/tensor.ts";

/** The dtype of the activations and the options that decide what is computed, with defaults filled in. */
export type ExpertsVariant =
  & { readonly dtype: DType }
  & Readonly<Defined<ExpertsComputation & Pick<ExpertsOptions, "batchInvariant">>>;

type Defined<Options> = { [Name in keyof Options]-?: NonNullable<Options[Name]> };

/** Options whose default depends on others. */
type Derived = "activationAlpha" | "activationLimit" | "onProgress";

/** An option's default and its check. The check gets the name for its message. */
interface Rule<Value, Default> {
  readonly default: Default;
  readonly check: (name: string, value: Value) => void;
}

type Rules<Options> = {
  readonly [Name in keyof Options]-?: Rule<
    Options[Name],
    Name extends Derived ? undefined : NonNullable<Options[Name]>
  >;
};

const layerRules: Rules<ExpertsComputation> = {
  activation: { default: "swiglu-oai", check: (name, value) => expectOneOf(name, value, activations) },
  activationAlpha: { default: undefined, check: expectFinite }, // the activation's own
  activationLimit: { default: undefined, check: expectPositiveF32 }, // the activation's own
  gated: { default: true, check: expectBoolean },
  gateUpLayout: {
    default: "interleaved",
    check: (name, value) => expectOneOf(name, value, ["interleaved", "concatenated"]),
  },
  weightLayout: { default: "in-out", check: (name, value) => expectOneOf(name, value, ["in-out", "out-in"]) },
};

const callRules: Rules<Omit<ExpertsOptions, keyof ExpertsComputation>> = {
  batchInvariant: { default: false, check: expectBoolean },
  expertCapacity: { default: Infinity, check: expectCapacity },
  routingWeightsLayout: { default: "top-k", check: (name, value) => expectOneOf(name, value, ["top-k", "dense"]) },
  onProgress: { default: undefined, check: expectFunction },
};

const rules: Rules<ExpertsOptions> = { ...layerRules, ...callRules };

/** The names of the options that a layer's weights decide. */
export const layerOptionNames = Object.keys(layerRules) as readonly (keyof ExpertsComputation)[];

/** The names of all options. */
export const expertsOptionNames = Object.keys(rules) as readonly (keyof ExpertsOptions)[];

/** Options with the defaults filled in. */
export interface ResolvedOptions {
  readonly variant: ExpertsVariant;
  readonly expertCapacity: number;
  readonly routingWeightsLayout: "top-k" | "dense";
}

/**
 * Checks options and fills in the defaults.
 *
 * @throws {TypeError} If an option is unknown or of a wrong type.
 * @throws {RangeError} If an option is out of range or does not apply to the activation.
 */
export function resolveOptions(dtype: DType, options: ExpertsOptions): ResolvedOptions {
  checkNames("options", options, [...expertsOptionNames, "backend"]);
  for (const name of expertsOptionNames) checkOption(name, options[name]);
  const option = <Name extends Exclude<keyof ExpertsOptions, Derived>>(name: Name) =>
    options[name] ?? rules[name].default as NonNullable<ExpertsOptions[Name]>;
  const activation = option("activation"), gated = option("gated");
  const rule = activationRules[activation];
  if (!gated && !rule.ungated) throw new RangeError(`The activation "${activation}" needs a gate, got gated: false`);
  const taken: typeof rule.options = gated ? rule.options : {};
  for (const name of ["activationAlpha", "activationLimit"] as const) {
    if (options[name] !== undefined && !(name in taken)) refuse(name, activation, gated);
  }
  const variant = {
    dtype,
    activation,
    activationAlpha: options.activationAlpha ?? taken.activationAlpha ?? 1,
    activationLimit: options.activationLimit ?? taken.activationLimit ?? Infinity,
    gated,
    gateUpLayout: option("gateUpLayout"),
    weightLayout: option("weightLayout"),
    batchInvariant: option("batchInvariant"),
  };
  return {
    variant,
    expertCapacity: option("expertCapacity"),
    routingWeightsLayout: option("routingWeightsLayout"),
  };
}

function checkOption(name: keyof ExpertsOptions, value: unknown): void {
  if (value !== undefined) (rules[name].check as (name: string, value: unknown) => void)(name, value);
}

/** The variant without any option. */
export const defaultVariant: ExpertsVariant = resolveOptions("f16", {}).variant;

function refuse(name: "activationAlpha" | "activationLimit", activation: string, gated: boolean): never {
  const takers = activations.filter((activation) => name in activationRules[activation].options)
    .map((activation) => `"${activation}"${activationRules[activation].ungated ? " with a gate" : ""}`);
  throw new RangeError(
    `${name} must only be given for the activation ${takers.join(" or ")}, got activation: "${activation}"${
      gated ? "" : ", gated: false"
    }`,
  );
}

function expectFinite(name: string, value: number | undefined): void {
  if (typeof value === "number" && Number.isFinite(Math.fround(value))) return;
  throw new RangeError(`${name} must be a finite number of f32, got ${describeValue(value)}`);
}

function expectPositiveF32(name: string, value: number | undefined): void {
  if (typeof value === "number" && Math.fround(value) > 0) return;
  throw new RangeError(`${name} must be a number of f32 above 0, got ${describeValue(value)}`);
}

/** Checks that a value is a capacity. Errors begin with `name`. */
export function expectCapacity(name: string, value: number | undefined): void {
  if (value === Infinity || Number.isSafeInteger(value) && Number(value) >= 1) return;
  throw new RangeError(`${name} must be an integer of at least 1, or undefined, got ${describeValue(value)}`);
}
