// The numbers that kernels know dtypes, activations and scorings by, and what a kernel is launched with.
import type { Scoring } from "../../routing/router.ts";
import type { DType } from "../../tensor/tensor.ts";
import type { Argument, LaunchShape } from "../driver/kernel.ts";

/** A kernel and everything it is launched with. */
export interface OpLaunch extends LaunchShape {
  readonly kernel: string;
  readonly arguments: readonly Argument[];
}

/** The numbers of dtypes in kernels that take any: cuda/dtype.cuh. */
const dtypeCodes = { f32: 0, f16: 1, bf16: 2 } as const satisfies Partial<Record<DType, number>>;

/** The number of a tensor's dtype, a float's. */
export function dtypeCode({ dtype }: Pick<DeviceOperand, "dtype">): number {
  return dtypeCodes[dtype as keyof typeof dtypeCodes];
}

/** A tensor in device memory. */
export interface DeviceOperand {
  readonly pointer: bigint;
  readonly dtype: DType;
}

/** The numbers of cuda/router.cu. */
export const scorings = {
  "none": 0,
  "softmax": 1,
  "sigmoid": 2,
  "sqrt-softplus": 3,
  "sparse-mixer": 4,
} as const satisfies Record<
  Scoring,
  number
>;

/** The numbers of cuda/activation.cuh. */
export const activationKinds = {
  "none": 0,
  "swiglu-oai": 1,
  "silu": 1,
  "gelu": 2,
  "gelu-tanh": 3,
  "relu2": 4,
} as const;
