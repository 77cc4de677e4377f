// The numbers by which the kernels know dtypes, activations and scorings: cuda/codes.cuh has the same tables.
import { type Activation, activationRules } from "../../contract/activations.ts";
import type { Scoring } from "../../routing/router.ts";
import type { DType } from "../../tensor/tensor.ts";

/** `enum DType` of cuda/codes.cuh. */
export const cudaDTypes = { f32: 0, f16: 1, bf16: 2 } as const satisfies Partial<Record<DType, number>>;

/** The kernels' number of a floating-point dtype. */
export function cudaDTypeCode(dtype: DType): number {
  if (dtype in cudaDTypes) return cudaDTypes[dtype as keyof typeof cudaDTypes];
  throw new TypeError(`The kernels do not support the dtype ${dtype} here`);
}

/** `enum NumberFormat` of cuda/codes.cuh. */
export const cudaNumbers = { e2m1: 0, signed: 1, unsigned: 2, e4m3: 3 } as const;

/** `enum ScaleFormat` of cuda/codes.cuh. */
export const cudaScales = { f32: 0, f16: 1, bf16: 2, e8m0: 3, e4m3: 4 } as const;

/** `enum Scoring` of cuda/codes.cuh. */
export const cudaScorings = {
  "none": 0,
  "softmax": 1,
  "sigmoid": 2,
  "sqrt-softplus": 3,
  "sparse-mixer": 4,
} as const satisfies Record<Scoring, number>;

/** The kernels' number of an activation: `enum ActivationKind` of cuda/codes.cuh. */
export function cudaActivationCode(activation: Activation | "none"): number {
  return activation === "none" ? 0 : activationRules[activation].cuda;
}
