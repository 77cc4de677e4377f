// The launches of one `experts` call: which kernels, how many blocks, and what work and memory that is. Pure arithmetic on
// what the host knows; how the tokens fall on the experts only the device finds out.
import type { ExpertsInputs } from "../../contract/experts.ts";
import { gateUpColumns } from "../../contract/experts_sizes.ts";
import type { ResolvedExperts } from "../../contract/resolve_experts.ts";
import { bytesPerElement } from "../../tensor/tensor.ts";
import type { KernelRecord } from "../images/manifest_types.ts";
import type { Argument, LaunchShape } from "../driver/kernel.ts";
import { type Boxed, type PlanDevice, type Product, ProductKernels } from "./product.ts";
import { dtypeCode } from "./codes.ts";
import { planCombine, planSort } from "./steps.ts";
import { chooseTile, type TileShape } from "./tiles.ts";

export { type PlanDevice };

/** The tensors that the kernels work on. */
export type TensorName = keyof ExpertsInputs | WorkspaceName | "output";

/** What a call needs in between. N is the most assignments that can be kept. */
export type WorkspaceName =
  | "counts" //        [E, sort blocks], i32: each expert's assignments in each chunk, then those before it
  | "totals" //        [E], i32: each expert's assignments
  | "rowOffsets" //    [E + 1], i32: where each expert's rows begin
  | "tileOffsets" //   [E + 1], i32: where each expert's tiles begin
  | "rows" //          [T, K], i32: the row of each assignment, -1 where it was dropped
  | "rowTokens" //     [N], i32: the token of each row
  | "rowScales" //     [N], f32: what the input of each row is multiplied by, where that is given
  | "activations" //   [N, I]; they lie in the output where that is large enough
  | "expertOutputs"; // [N, H]

/** One kernel launch. */
export interface Launch extends LaunchShape {
  readonly kernel: string;
  /** Useful floating-point operations. */
  readonly flops: number;
  /** Bytes that device memory must move at least: each tensor that is touched, once. */
  readonly bytes: number;
  /** The arguments, where a name stands for the tensor's pointer. */
  readonly arguments: readonly (Argument | TensorName | Boxed<TensorName>)[];
}

/** The launches of one call and the memory they work in. */
export interface Plan {
  readonly tile: TileShape;
  readonly launches: readonly Launch[];
  /** Bytes of each workspace tensor; 0 for one that is not needed, and for activations that lie in the output. */
  readonly workspace: Readonly<Record<WorkspaceName, number>>;
}

/**
 * Plans a call.
 *
 * @param shape The sizes. At least one token.
 * @param device The GPU.
 * @param kernels What is known of the kernels of the image that runs there.
 * @param tileRows Rows of the tiles to use, or of the next smaller ones there are, in the place of those that seem best.
 */
export function planLaunches(
  shape: ResolvedExperts,
  device: PlanDevice,
  kernels: readonly KernelRecord[],
  tileRows?: number,
): Plan {
  const { tokens, hidden, intermediate, experts, topK, capacity, denseWeights, weightsDType } = shape;
  const { hasInputWeights, hasAddend } = shape;
  const assignments = tokens * topK;
  const kept = Math.min(assignments, experts * capacity);
  const busy = Math.min(experts, kept); // experts that can have work
  const int32Capacity = Math.min(capacity, 2 ** 31 - 1);

  const sort = planSort(assignments, experts);
  const width = gateUpColumns(shape);
  const first: Product = { experts, depth: hidden, width, gated: shape.gated, activation: shape.activation };
  const second: Product = { experts, depth: intermediate, width: hidden, gated: false, activation: "none" };
  const products = new ProductKernels(shape, [first, second], device, kernels);
  const shapes = products.tiles;
  const tile = tileRows === undefined
    ? chooseTile(shapes, {
      experts: busy,
      rows: kept / busy,
      even: kept === experts * capacity,
      columns: width + hidden,
      slots: (tile) => products.blockShape(tile, first).slots,
    })
    : shapes.find(({ rows }) => rows <= tileRows) ?? shapes.at(-1)!;
  const rowTiles = Math.floor(kept / tile.rows) + busy; // at most: each expert's last one may be ragged
  const launchOf = (product: Product): LaunchShape & { kernel: string } => {
    const { slots, ...launch } = products.blockShape(tile, product);
    return { ...launch, blocks: Math.min(rowTiles * Math.ceil(product.width / tile.columns), slots) };
  };
  const element = bytesPerElement(shape.dtype);

  const activationsInOutput = kept * intermediate <= tokens * hidden;
  const workspace = {
    counts: experts * sort.blocks * 4,
    totals: experts * 4,
    rowOffsets: (experts + 1) * 4,
    tileOffsets: (experts + 1) * 4,
    rows: assignments * 4,
    rowTokens: kept * 4,
    rowScales: hasInputWeights ? kept * 4 : 0,
    activations: activationsInOutput ? 0 : kept * intermediate * element,
    expertOutputs: kept * hidden * element,
  };
  const activations = activationsInOutput ? "output" : "activations";
  const rowScales = hasInputWeights ? "rowScales" : 0n;

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
      bytes: assignments * 4 + workspace.counts + workspace.rows + workspace.rowTokens + 2 * workspace.rowScales,
      arguments: [
        ...["routerIndices", "counts", "rowOffsets", "inputWeights", "rows", "rowTokens", rowScales] as const,
        ...[assignments, sort.chunk, experts, topK, int32Capacity],
      ],
    },
    {
      ...launchOf(first),
      flops: kept * 2 * hidden * width,
      bytes: element * (kept * hidden + busy * width * (hidden + 1) + kept * intermediate),
      arguments: [
        ...["hiddenStates", products.weights(tile, first, "gateUpProj"), "gateUpProjBias", activations] as const,
        ...["rowTokens", rowScales, "rowOffsets", "tileOffsets"] as const,
        ...products.arguments(first),
      ],
    },
    {
      ...launchOf(second),
      flops: kept * 2 * hidden * intermediate,
      bytes: element * (kept * intermediate + busy * hidden * (intermediate + 1) + kept * hidden),
      arguments: [
        ...[activations, products.weights(tile, second, "downProj"), "downProjBias", "expertOutputs"] as const,
        ...[0n, 0n, "rowOffsets", "tileOffsets"] as const,
        ...products.arguments(second),
      ],
    },
    {
      ...planCombine(shape.dtype, tokens),
      flops: 2 * kept * hidden,
      bytes: workspace.expertOutputs + workspace.rows + bytesPerElement(weightsDType) * assignments +
        element * (hasAddend ? 2 : 1) * tokens * hidden,
      arguments: [
        ...["expertOutputs", "rows", "routingWeights", dtypeCode({ dtype: weightsDType })] as const,
        denseWeights ? "routerIndices" : 0n,
        ...["addend", "addendWeights", "output"] as const,
        ...[tokens, topK, denseWeights ? experts : topK, hidden],
      ],
    },
  ];
  return { tile, launches, workspace };
}
