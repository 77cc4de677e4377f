// The launches of one `experts` call: which kernels, how many blocks, and what work and memory that is. Pure arithmetic on
// what the host knows; how the tokens fall on the experts only the device finds out.
import type { ExpertsShape } from "../experts_shape.ts";
import type { KernelRecord } from "./cubin_manifest.ts";
import type { Argument, LaunchShape } from "./kernel.ts";
import { limits, type PlanDevice, planSort, productLaunch } from "./steps.ts";
import { chooseTile, type TileShape } from "./tiles.ts";

export { limits, type PlanDevice };

/** The tensors that the kernels work on. */
export type TensorName = InputName | WorkspaceName | "output";

/** The op's inputs. */
export type InputName =
  | "hiddenStates"
  | "routerIndices"
  | "routingWeights"
  | "gateUpProj"
  | "gateUpProjBias"
  | "downProj"
  | "downProjBias";

/** What a call needs in between. N is the most assignments that can be kept. */
export type WorkspaceName =
  | "counts" //        [E, sort blocks], i32: each expert's assignments in each chunk, then those before it
  | "totals" //        [E], i32: each expert's assignments
  | "rowOffsets" //    [E + 1], i32: where each expert's rows begin
  | "tileOffsets" //   [E + 1], i32: where each expert's tiles begin
  | "rows" //          [T, K], i32: the row of each assignment, -1 where it was dropped
  | "rowTokens" //     [N], i32: the token of each row
  | "activations" //   [N, I], f16; they lie in the output where that is large enough
  | "expertOutputs"; // [N, H], f16

/** One kernel launch. */
export interface Launch extends LaunchShape {
  readonly kernel: string;
  /** Useful floating-point operations. */
  readonly flops: number;
  /** Bytes that device memory must move at least: each tensor that is touched, once. */
  readonly bytes: number;
  /** The arguments, where a name stands for the tensor's pointer. */
  readonly arguments: readonly (Argument | TensorName)[];
}

/** The launches of one call and the memory they work in. */
export interface Plan {
  readonly tile: TileShape;
  readonly launches: readonly Launch[];
  /** Bytes of each workspace tensor; 0 for activations that lie in the output. */
  readonly workspace: Readonly<Record<WorkspaceName, number>>;
}

const combineThreads = 256;

/**
 * Plans a call.
 *
 * @param shape The sizes. At least one token.
 * @param device The GPU.
 * @param kernels What is known of the kernels of the image that runs there.
 * @param forced A tile shape to use in the place of the one that seems best.
 */
export function planLaunches(
  shape: ExpertsShape,
  device: PlanDevice,
  kernels: readonly KernelRecord[],
  forced?: TileShape,
): Plan {
  const { tokens, hidden, intermediate, experts, topK, capacity, denseWeights } = shape;
  const assignments = tokens * topK;
  const kept = Math.min(assignments, experts * capacity);
  const busy = Math.min(experts, kept); // experts that can have work
  const int32Capacity = Math.min(capacity, 2 ** 31 - 1);

  const sort = planSort(assignments, experts);
  const launchOf = (name: string, shape: TileShape) =>
    productLaunch(`${name}_${shape.rows}_f16`, shape, device, kernels);
  const tile = forced ?? chooseTile({
    experts: busy,
    rows: kept / busy,
    even: kept === experts * capacity,
    columns: 2 * intermediate + hidden,
    slots: (shape) => launchOf("gate_up", shape).slots,
  });
  const rowTiles = Math.floor(kept / tile.rows) + busy; // at most: each expert's last one may be ragged
  const product = (name: string, width: number): LaunchShape & { kernel: string } => {
    const { slots, ...launch } = launchOf(name, tile);
    return { ...launch, blocks: Math.min(rowTiles * Math.ceil(width / tile.columns), slots) };
  };

  const activationsInOutput = kept * intermediate <= tokens * hidden;
  const workspace = {
    counts: experts * sort.blocks * 4,
    totals: experts * 4,
    rowOffsets: (experts + 1) * 4,
    tileOffsets: (experts + 1) * 4,
    rows: assignments * 4,
    rowTokens: kept * 4,
    activations: activationsInOutput ? 0 : kept * intermediate * 2,
    expertOutputs: kept * hidden * 2,
  };
  const activations = activationsInOutput ? "output" : "activations";

  const launches: Launch[] = [
    {
      ...sort.histogram,
      flops: 0,
      bytes: assignments * 4 + workspace.counts,
      arguments: ["routerIndices", "counts", assignments, sort.chunk, experts],
    },
    {
      ...sort.scan,
      flops: 0,
      bytes: 2 * workspace.counts + workspace.totals + workspace.rowOffsets + workspace.tileOffsets,
      arguments: ["counts", "totals", "rowOffsets", "tileOffsets", experts, sort.blocks, int32Capacity, tile.rows],
    },
    {
      ...sort.rank,
      flops: 0,
      bytes: assignments * 4 + workspace.counts + workspace.rows + workspace.rowTokens,
      arguments: [
        ...["routerIndices", "counts", "rowOffsets", "rows", "rowTokens"] as const,
        ...[assignments, sort.chunk, experts, topK, int32Capacity],
      ],
    },
    {
      ...product("gate_up", 2 * intermediate),
      flops: kept * 4 * hidden * intermediate,
      bytes: 2 * (kept * hidden + busy * 2 * intermediate * (hidden + 1) + kept * intermediate),
      arguments: [
        ...[
          "hiddenStates",
          "gateUpProj",
          "gateUpProjBias",
          activations,
          "rowTokens",
          "rowOffsets",
          "tileOffsets",
        ] as const,
        ...[experts, hidden, 2 * intermediate, { float: shape.activationAlpha }, { float: shape.activationLimit }],
      ],
    },
    {
      ...product("down", hidden),
      flops: kept * 2 * hidden * intermediate,
      bytes: 2 * (kept * intermediate + busy * hidden * (intermediate + 1) + kept * hidden),
      arguments: [
        ...[activations, "downProj", "downProjBias", "expertOutputs", "rowOffsets", "tileOffsets"] as const,
        ...[experts, intermediate, hidden],
      ],
    },
    {
      kernel: "combine_f16",
      blocks: Math.min(Math.ceil(tokens / (combineThreads / 32)), device.multiprocessors * 8),
      ...{ threads: combineThreads, sharedBytes: 0 },
      flops: 2 * kept * hidden,
      bytes: workspace.expertOutputs + workspace.rows + 2 * assignments + 2 * tokens * hidden,
      arguments: [
        ...["expertOutputs", "rows", "routingWeights"] as const,
        denseWeights ? "routerIndices" : 0n,
        "output",
        ...[tokens, topK, denseWeights ? experts : topK, hidden],
      ],
    },
  ];
  return { tile, launches, workspace };
}
