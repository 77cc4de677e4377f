// Plans one `experts` call: its kernel launches and its memory. The plan depends only on sizes; how the tokens are distributed
// over the experts is known only on the device.
import type { ExpertsInputs } from "../../contract/experts.ts";
import { gateUpColumns } from "../../contract/experts_sizes.ts";
import type { ResolvedExperts } from "../../contract/resolve_experts.ts";
import { type DenseFormat, weightBytes, type WeightFormat } from "../../contract/weights.ts";
import { bytesPerElement } from "../../tensor/tensor.ts";
import type { KernelLaunch } from "../driver/kernel.ts";
import type { KernelRecord } from "../images/manifest_types.ts";
import { type PlanDevice, type Product, ProductKernels } from "./product.ts";
import { planCombine, planSort, sortCounts, type SortShape } from "./steps.ts";
import { chooseTile, type TileShape } from "./tiles.ts";

/** The tensors that the kernels read and write. */
export type TensorName = keyof ExpertsInputs | WorkspaceName | "output";

/** The temporary tensors of a call. N is the maximum number of kept assignments. */
export type WorkspaceName =
  | "counts" //        [E, sort blocks], i32: each expert's assignments in each chunk of a long list, later in the chunks before it
  | "totals" //        [E], i32: each expert's assignments
  | "rowOffsets" //    [E + 1], i32: each expert's first row
  | "tileOffsets" //   [E + 1], i32: each expert's first tile
  | "rows" //          [T, K], i32: the row of each assignment, or -1 if it is dropped
  | "rowTokens" //     [N], i32: the token of each row
  | "rowScales" //     [N], f32: the input weight of each row, if there are input weights
  | "activations" //   [N, I]; stored in the output if it is large enough
  | "expertOutputs"; // [N, H]

/** A launch of the plan. Its tensors are given by name. */
export interface PlannedLaunch extends KernelLaunch<TensorName> {
  /** Useful floating-point operations. */
  readonly flops: number;
  /** The minimum number of bytes that device memory must move: each tensor that is used, once. */
  readonly bytes: number;
}

/** The launches of one call and the memory they use. */
export interface Plan {
  readonly tile: TileShape;
  readonly launches: readonly PlannedLaunch[];
  /** Bytes of each temporary tensor; 0 if it is not needed, or for activations that are stored in the output. */
  readonly workspace: Readonly<Record<WorkspaceName, number>>;
}

/**
 * Plans a call.
 *
 * @param shape The sizes. There must be at least one token.
 * @param device The GPU.
 * @param kernels The kernels of the image that runs there.
 * @param tileRows Rows of the tiles to use instead of the best ones; the next smaller tiles are used if none has this many.
 * @throws {RangeError} If the call is too large for the kernels' 32-bit indices.
 */
export function planLaunches(
  shape: ResolvedExperts,
  device: PlanDevice,
  kernels: readonly KernelRecord[],
  tileRows?: number,
): Plan {
  const { tokens, hidden, intermediate, experts, topK, capacity, denseWeights, weightsDType } = shape;
  const { formats, hasInputWeights, hasAddend } = shape;
  const assignments = tokens * topK;
  const kept = Math.min(assignments, experts * capacity);
  const busy = Math.min(experts, kept); // experts that can have work

  const width = gateUpColumns(shape);
  const first: Product = {
    ...{ experts, depth: hidden, width, gated: shape.gated, activation: shape.activation },
    format: denseFormat("gateUpProj", formats.gateUpProj),
    offsetsReady: false,
  };
  const second: Product = {
    ...{ experts, depth: intermediate, width: hidden, gated: false, activation: "none" },
    format: denseFormat("downProj", formats.downProj),
    offsetsReady: true,
  };
  const products = new ProductKernels(shape, [first, second], device, kernels);
  const tile = tileRows === undefined
    ? chooseTile(products.tiles, {
      experts: busy,
      rows: kept / busy,
      even: kept === experts * capacity,
      columns: width + hidden,
      slots: (tile) => products.slots(tile, first),
    })
    : products.tiles.find(({ rows }) => rows <= tileRows) ?? products.tiles.at(-1)!;
  const rowTiles = Math.floor(kept / tile.rows) + busy; // the last tile of each expert may be ragged
  const sort: SortShape = { count: assignments, experts, topK, capacity, tileRows: tile.rows };
  const element = bytesPerElement(shape.dtype);

  const activationsInOutput = kept * intermediate <= tokens * hidden;
  const workspace = {
    counts: sortCounts(sort) * 4,
    totals: experts * 4,
    rowOffsets: (experts + 1) * 4,
    tileOffsets: (experts + 1) * 4,
    rows: assignments * 4,
    rowTokens: kept * 4,
    rowScales: hasInputWeights ? kept * 4 : 0,
    activations: activationsInOutput ? 0 : kept * intermediate * element,
    expertOutputs: kept * hidden * element,
  };
  const rowScales = hasInputWeights ? "rowScales" : null;
  const activations = activationsInOutput ? "output" : "activations";
  const offsets = { rowOffsets: "rowOffsets", tileOffsets: "tileOffsets" } as const;
  const offsetBytes = workspace.totals + workspace.rowOffsets + workspace.tileOffsets;
  const rankBytes = workspace.rows + workspace.rowTokens + 2 * workspace.rowScales;
  const sortBytes: Readonly<Record<string, number>> = {
    sort_small: assignments * 4 + offsetBytes + rankBytes,
    sort_histogram: assignments * 4 + workspace.counts,
    sort_scan: 2 * workspace.counts + offsetBytes,
    sort_rank: assignments * 4 + workspace.counts + rankBytes,
  };
  const sortLaunches = planSort<TensorName>(sort, {
    ...{ indices: "routerIndices", inputWeights: "inputWeights", counts: "counts", totals: "totals", ...offsets },
    ...{ rows: "rows", rowTokens: "rowTokens", rowScales },
  });

  const launches: PlannedLaunch[] = [
    ...sortLaunches.map((launch) => ({ ...launch, flops: 0, bytes: sortBytes[launch.kernel] ?? 0 })),
    {
      ...products.launch<TensorName>(tile, first, rowTiles, {
        ...{ input: "hiddenStates", weights: "gateUpProj", bias: "gateUpProjBias", out: activations },
        ...{ rowIndex: "rowTokens", rowScales, ...offsets },
      }),
      flops: kept * 2 * hidden * width,
      bytes: weightBytes(first.format, [busy, width, hidden]) +
        element * (kept * hidden + busy * width + kept * intermediate),
    },
    {
      ...products.launch<TensorName>(tile, second, rowTiles, {
        ...{ input: activations, weights: "downProj", bias: "downProjBias", out: "expertOutputs" },
        ...{ rowIndex: null, rowScales: null, ...offsets },
      }),
      flops: kept * 2 * hidden * intermediate,
      bytes: weightBytes(second.format, [busy, hidden, intermediate]) +
        element * (kept * intermediate + busy * hidden + kept * hidden),
    },
    {
      ...planCombine<TensorName>(
        shape.dtype,
        weightsDType,
        { tokens, topK, weightColumns: denseWeights ? experts : topK, width: hidden },
        {
          ...{ expertOutputs: "expertOutputs", rows: "rows", weights: "routingWeights" },
          indices: denseWeights ? "routerIndices" : null,
          ...{ addend: "addend", addendWeights: "addendWeights", out: "output" },
        },
        device.multiprocessors,
      ),
      flops: 2 * kept * hidden,
      bytes: workspace.expertOutputs + workspace.rows + bytesPerElement(weightsDType) * assignments +
        element * (hasAddend ? 2 : 1) * tokens * hidden,
    },
  ];
  return { tile, launches, workspace };
}

/**
 * Returns the format of a weight that the kernels read.
 *
 * @throws {TypeError} If no kernel reads the format.
 */
function denseFormat(name: string, format: WeightFormat): DenseFormat {
  if (format.kind === "dense") return format;
  throw new TypeError(`${name} must be a dense tensor on the GPU, got a tensor in ${format.kind}: decode it first`);
}
