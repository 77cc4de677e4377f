// The tensors of `experts`, as a table. The compiler checks that none is missing.
import type { ExpertsInputs } from "./experts.ts";
import type { DType } from "../tensor/tensor.ts";

/** What is required of an input tensor, besides its shape. */
export interface InputRule {
  /** Whether the input may be left out. */
  readonly optional: boolean;
  /** The dtype; undefined for that of `hiddenStates`. */
  readonly dtype?: DType;
}

/** Every input. */
export const inputRules: Readonly<Record<keyof ExpertsInputs, InputRule>> = {
  hiddenStates: { optional: false },
  routerIndices: { optional: false, dtype: "i32" },
  routingWeights: { optional: false },
  inputWeights: { optional: true, dtype: "f32" },
  gateUpProj: { optional: false },
  gateUpProjBias: { optional: true },
  downProj: { optional: false },
  downProjBias: { optional: true },
  addend: { optional: true },
  addendWeights: { optional: true, dtype: "f32" },
};

/** The names of the inputs. */
export const inputNames = Object.keys(inputRules) as readonly (keyof ExpertsInputs)[];

/** Whether an input is a weight, which may be packed. */
export function isWeight(name: keyof ExpertsInputs): name is "gateUpProj" | "downProj" {
  return name === "gateUpProj" || name === "downProj";
}

/**
 * Applies functions to each tensor that is present.
 *
 * @param changeWeight The function for the weights. The default is that for the other tensors.
 */
export function mapInputs<From, To, FromWeight = From, ToWeight = To>(
  inputs: ExpertsInputs<From, FromWeight>,
  change: (tensor: From) => To,
  changeWeight: (weight: FromWeight) => ToWeight = change as unknown as (weight: FromWeight) => ToWeight,
): ExpertsInputs<To, ToWeight> {
  const mapped: Partial<Record<keyof ExpertsInputs, To | ToWeight>> = {};
  for (const name of inputNames) {
    if (inputs[name] === undefined) continue;
    mapped[name] = isWeight(name) ? changeWeight(inputs[name]) : change(inputs[name]);
  }
  return mapped as ExpertsInputs<To, ToWeight>;
}
