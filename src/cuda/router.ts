// The launches of the router: its linear layer, and routing.
import type { ProductShape } from "../ops/check.ts";
import type { Router, Scoring } from "../router.ts";
import type { DType } from "../tensor.ts";
import type { KernelRecord } from "./cubin_manifest.ts";
import type { Argument, LaunchShape } from "./kernel.ts";

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

/** The most experts of a router, and the most of them that a token may go to. */
export const routerLimits = { experts: 1024, topK: 32 } as const;

const linearThreads = 256, routeThreads = 128, routeWarps = 4;

/** Plans `linear`: on tensor cores where they multiply the operands as they are. */
export function planLinear(
  { rows, depth, columns }: ProductShape,
  input: DeviceOperand,
  weight: DeviceOperand,
  bias: DeviceOperand | undefined,
  output: DeviceOperand,
  kernels: readonly KernelRecord[],
): OpLaunch {
  const kernel = `linear_${input.dtype}`;
  const onTensorCores = input.dtype === weight.dtype && depth % 8 === 0 && kernels.some(({ name }) => name === kernel);
  const [tileRows, tileColumns, sharedBytes] = onTensorCores ? [32, 64, 32 * 64 * 4] : [32, 32, 32 * (32 + 33) * 4];
  const tail = [rows, columns, depth];
  return {
    kernel: onTensorCores ? kernel : "linear_any",
    blocks: Math.ceil(rows / tileRows) * Math.ceil(columns / tileColumns),
    threads: linearThreads,
    sharedBytes,
    arguments: onTensorCores
      ? [input.pointer, weight.pointer, bias?.pointer ?? 0n, output.pointer, dtypeCode(output), ...tail]
      : [
        ...[input.pointer, dtypeCode(input), weight.pointer, bias?.pointer ?? 0n, dtypeCode(weight)],
        ...[output.pointer, dtypeCode(output), ...tail],
      ],
  };
}

const scorings = {
  "none": 0,
  "softmax": 1,
  "sigmoid": 2,
  "sqrt-softplus": 3,
  "sparse-mixer": 4,
} as const satisfies Record<
  Scoring,
  number
>;

/** What `route` writes. */
export interface RouteTargets {
  readonly routerIndices: DeviceOperand;
  readonly routerWeights: DeviceOperand;
  readonly inputWeights: DeviceOperand | undefined;
}

/** Plans `route`. */
export function planRoute(
  tokens: number,
  router: Router<unknown>,
  logits: DeviceOperand,
  bias: DeviceOperand | undefined,
  { routerIndices: indices, routerWeights: weights, inputWeights }: RouteTargets,
  multiprocessors: number,
): OpLaunch {
  const { experts, topK, before, after, groups, topGroups, renormalize, onInput, epsilon, scale, jitter } = router;
  for (const [name, value] of Object.entries({ experts, topK })) {
    const most = routerLimits[name as keyof typeof routerLimits];
    if (value > most) throw new RangeError(`${name} must be at most ${most} on the GPU, got ${value}`);
  }
  return {
    kernel: `route_${logits.dtype}`,
    blocks: Math.min(Math.ceil(tokens / routeWarps), multiprocessors * 16),
    threads: routeThreads,
    sharedBytes: routeWarps * (experts * 8 + (experts + groups) * 4),
    arguments: [
      ...[logits.pointer, bias?.pointer ?? 0n, indices.pointer, weights.pointer, inputWeights?.pointer ?? 0n],
      ...[tokens, experts, topK, scorings[before], scorings[after], groups, topGroups],
      ...[Number(renormalize), Number(onInput), dtypeCode(weights)],
      ...[epsilon, scale, jitter].map((float) => ({ float })),
    ],
  };
}
