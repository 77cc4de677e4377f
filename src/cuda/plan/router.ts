// The launches of the router: its linear layer, and routing.
import type { ProductShape } from "../../contract/resolve_ops.ts";
import { checkGpuLimit } from "../../contract/limits.ts";
import type { Router } from "../../routing/router.ts";
import { type DeviceOperand, dtypeCode, type OpLaunch, scorings } from "./codes.ts";
import type { KernelRecord } from "../images/manifest_types.ts";

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

/** What `route` writes. */
export interface RouteTargets {
  readonly routerIndices: DeviceOperand;
  readonly routerWeights: DeviceOperand;
  readonly inputWeights: DeviceOperand | undefined;
}

/** Plans `route`. */
export function planRoute(
  tokens: number,
  router: Router,
  logits: DeviceOperand,
  bias: DeviceOperand | undefined,
  { routerIndices: indices, routerWeights: weights, inputWeights }: RouteTargets,
  multiprocessors: number,
): OpLaunch {
  const { experts, topK, before, after, groups, topGroups, renormalize, onInput, epsilon, scale, jitter } = router;
  checkGpuLimit("experts", experts, "experts");
  checkGpuLimit("topK", topK, "topK");
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
