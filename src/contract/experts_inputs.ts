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

/** Applies a function to each tensor that is present. */
export function mapInputs<From, To>(inputs: ExpertsInputs<From>, change: (tensor: From) => To): ExpertsInputs<To> {
  const mapped: Partial<Record<keyof ExpertsInputs, To>> = {};
  for (const name of inputNames) {
    const tensor = inputs[name];
    if (tensor !== undefined) mapped[name] = change(tensor);
  }
  return mapped as ExpertsInputs<To>;
}
