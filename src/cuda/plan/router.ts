// Plans the launches of the router: its linear layer, and the choice of experts.
import type { ProductShape } from "../../contract/resolve_ops.ts";
import type { Router } from "../../routing/router.ts";
import type { DType } from "../../tensor/tensor.ts";
import type { KernelLaunch } from "../driver/kernel.ts";
import type { KernelRecord } from "../images/manifest_types.ts";
import { cudaDTypeCode, cudaScorings } from "./codes.ts";
import { checkInt32, checkMaximum, maximumExperts, maximumTopK } from "../../contract/limits.ts";

const linearThreads = 256, routeThreads = 128, routeWarps = 4;

/**
 * A tensor in device memory.
 *
 * @typeParam Pointer A device pointer, or a name that is replaced by one later.
 */
export interface DeviceOperand<Pointer = bigint> {
  readonly pointer: Pointer;
  readonly dtype: DType;
}

/**
 * Plans `linear`, on tensor cores if they multiply the operands as they are. Small tiles give the same bits as large ones.
 *
 * @throws {RangeError} If a size is too large for the kernels' 32-bit indices.
 */
export function planLinear<Pointer>(
  { rows, depth, columns }: ProductShape,
  input: DeviceOperand<Pointer>,
  weight: DeviceOperand<Pointer>,
  bias: Pick<DeviceOperand<Pointer>, "pointer"> | undefined,
  output: DeviceOperand<Pointer>,
  kernels: readonly KernelRecord[],
  multiprocessors: number,
): KernelLaunch<Pointer> {
  for (const [name, size] of Object.entries({ rows, depth, columns })) checkMaximum(`The number of ${name}`, size);
  const kernel = `linear_${input.dtype}`;
  const onTensorCores = input.dtype === weight.dtype && depth % 8 === 0 && kernels.some(({ name }) => name === kernel);
  const [large, small] = [[32, onTensorCores ? 64 : 32], [16, 8]] as const; // rows and columns of a tile
  const smallTiles = onTensorCores && tileCount(rows, columns, large) <= multiprocessors / 4;
  const tile = smallTiles ? small : large;
  const blocks = tileCount(rows, columns, tile);
  checkInt32("The number of blocks of a linear layer", blocks);
  return {
    ...{ kernel: onTensorCores ? kernel : "linear_any", blocks, threads: linearThreads },
    sharedBytes: onTensorCores ? tile[0] * tile[1] * 4 : 32 * (32 + 33) * 4,
    arguments: {
      ...{ input: input.pointer, weight: weight.pointer, bias: bias?.pointer ?? null, out: output.pointer },
      inputDtype: cudaDTypeCode(input.dtype),
      weightDtype: cudaDTypeCode(weight.dtype),
      outDtype: cudaDTypeCode(output.dtype),
      ...{ tokens: rows, columns, depth, smallTiles: Number(smallTiles) },
    },
  };
}

function tileCount(rows: number, columns: number, [tileRows, tileColumns]: readonly [number, number]): number {
  return Math.ceil(rows / tileRows) * Math.ceil(columns / tileColumns);
}

/** The tensors that `route` writes. */
export interface RouteTargets<Pointer = bigint> {
  readonly routerIndices: DeviceOperand<Pointer>;
  readonly routerWeights: DeviceOperand<Pointer>;
  readonly inputWeights: DeviceOperand<Pointer> | undefined;
}

/**
 * Plans `route`.
 *
 * @throws {RangeError} If there are more tokens or experts than the kernels count.
 */
export function planRoute<Pointer>(
  tokens: number,
  router: Router,
  logits: DeviceOperand<Pointer>,
  bias: Pick<DeviceOperand<Pointer>, "pointer"> | undefined,
  { routerIndices, routerWeights, inputWeights }: RouteTargets<Pointer>,
  multiprocessors: number,
): KernelLaunch<Pointer> {
  const { experts, topK, before, after, groups, topGroups, groupScores } = router;
  const { renormalize, onInput, epsilon, scale, jitter } = router;
  checkMaximum("The number of tokens", tokens);
  checkMaximum("experts", experts, maximumExperts);
  checkMaximum("topK", topK, maximumTopK);
  return {
    kernel: `route_${logits.dtype}`,
    blocks: Math.min(Math.ceil(tokens / routeWarps), multiprocessors * 16),
    threads: routeThreads,
    sharedBytes: routeWarps * (experts * 8 + (experts + groups) * 4),
    arguments: {
      ...{ logits: logits.pointer, bias: bias?.pointer ?? null },
      ...{ indices: routerIndices.pointer, weights: routerWeights.pointer },
      inputWeights: inputWeights?.pointer ?? null,
      ...{ tokens, experts, topK, before: cudaScorings[before], after: cudaScorings[after] },
      ...{ groups, topGroups, groupScores },
      ...{ renormalize: Number(renormalize), onInput: Number(onInput) },
      weightsDtype: cudaDTypeCode(routerWeights.dtype),
      ...{ epsilon, scale, jitter },
    },
  };
}
