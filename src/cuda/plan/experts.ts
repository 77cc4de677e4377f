// Plans one `experts` call: its kernel launches and its memory. The plan depends only on sizes; how the tokens are distributed
// over the experts is known only on the device.
import type { ExpertsInputs } from "../../contract/experts.ts";
import { gateUpColumns } from "../../contract/experts_sizes.ts";
import type { ResolvedExperts } from "../../contract/resolve_experts.ts";
import { weightBytes, type WeightFormat } from "../../contract/weights.ts";
import type { PackedFormat } from "../../tensor/packed_tensor.ts";
import { bytesPerElement, type DType, elementCount } from "../../tensor/tensor.ts";
import type { KernelLaunch } from "../driver/kernel.ts";
import type { KernelRecord } from "../images/manifest_types.ts";
import { chooseTile } from "./choose_tile.ts";
import { cudaDTypeCode } from "./codes.ts";
import { PackedProducts, type PackedProductTensors } from "./packed.ts";
import { fewTile } from "./packed_few.ts";
import { findLayout, planDecode } from "./packed_layout.ts";
import type { PackedTile } from "./packed_tiles.ts";
import { type PlanDevice, type Product, ProductKernels, usesTensorCores } from "./product.ts";
import { planCombine, planSort, sortCounts, type SortShape } from "./steps.ts";
import {
  denseParts,
  isReadable,
  type PartName,
  partsOf,
  planDecodeStored,
  type StoredParts,
  type WeightName,
} from "./stored.ts";
import { hasCounters, isStreamTile, planStream, sortPart, sortsItself } from "./stream.ts";
import type { TileShape } from "./tiles.ts";
import { splitsColumns } from "./weight_boxes.ts";

/** The tensors that the kernels read and write. */
export type TensorName = keyof ExpertsInputs | PartName | WorkspaceName | "counters" | "output";

/**
 * The temporary tensors of a call. N is the maximum number of kept assignments. If the kernel of the products sorts the
 * assignments, those from `counts` to `rowScales` are not needed, and N is T · K.
 */
export type WorkspaceName =
  | "counts" //        [E, sort blocks], i32: each expert's assignments in each chunk of a long list, later in the chunks before it
  | "totals" //        [E], i32: each expert's assignments
  | "rowOffsets" //    [E + 1], i32: each expert's first row
  | "tileOffsets" //   [E + 1], i32: each expert's first tile
  | "rows" //          [T, K], i32: the row of each assignment, or -1 if it is dropped
  | "rowTokens" //     [N], i32: the token of each row
  | "rowScales" //     [N], f32: the input weight of each row, if there are input weights
  | "panels" //        [⌈H / 64⌉, N, 64]: the hidden state of each row, for the kernels with packed weights
  | "activations" //   [N, I], or [⌈I / 64⌉, N, 64] in panels; stored in the output if it is large enough
  | "expertOutputs" // [N, H]
  | "gateUpDense" //   gateUpProj, decoded, if the kernels cannot multiply with it as it is stored
  | "downDense"; //    downProj, decoded, if the kernels cannot multiply with it as it is stored

/** A launch of a plan. Its tensors are given by name. */
export interface PlannedLaunch<Name = TensorName> extends KernelLaunch<Name> {
  /** Useful floating-point operations. */
  readonly flops: number;
  /** The minimum number of bytes that device memory must move: each tensor that is used, once. */
  readonly bytes: number;
  /** The number of experts that `bytes` counts, and the bytes of each; see `KernelTime`. */
  readonly experts?: { readonly count: number; readonly bytes: number };
}

/** What is known of the number of kept assignments, for a caller that uses the sort's results. */
export interface RowCounts {
  /** The maximum number, 0 if there are none. */
  readonly maximum: number;
  /** The expected number. */
  readonly expected: number;
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
 * @param counts What is known of the number of kept assignments. By default, all assignments within the capacity are expected,
 * and the kernel of the products may sort them itself. Then `expertOutputs` has the order of the assignments.
 * @throws {RangeError} If the call is too large for the kernels' 32-bit indices.
 */
export function planLaunches(
  shape: ResolvedExperts,
  device: PlanDevice,
  kernels: readonly KernelRecord[],
  tileRows?: number,
  counts?: RowCounts,
): Plan {
  const { tokens, hidden, intermediate, experts, topK, capacity, denseWeights, weightsDType } = shape;
  const { formats, hasInputWeights, hasAddend } = shape;
  const assignments = tokens * topK;
  const kept = Math.min(assignments, experts * capacity, counts?.maximum ?? Infinity);
  const busy = Math.min(experts, kept); // experts that can have work

  const width = gateUpColumns(shape);
  const dense = { kind: "dense", dtype: shape.dtype } as const;
  const first: Product = {
    ...{ experts, depth: hidden, width, gated: shape.gated, activation: shape.activation },
    ...{ format: dense, offsetsReady: false },
  };
  const second: Product = {
    ...{ experts, depth: intermediate, width: hidden, gated: false, activation: "none" },
    ...{ format: dense, offsetsReady: true },
  };
  const even = kept === experts * capacity, expected = Math.min(kept, counts?.expected ?? Infinity);
  const used = even ? experts : experts * (1 - (1 - 1 / experts) ** expected); // with assignments to random experts
  const choice = {
    ...{ experts: used, rows: used > 0 ? expected / used : 0, even, multiprocessors: device.multiprocessors },
    sort: (tile: TileShape) => counts ? 0 : sortPart(tile, assignments),
    products: [first, second].map((product) => ({ ...product, split: splitsColumns(shape, product) })),
  };
  const packed = PackedProducts.find(shape, device, kernels);
  const tensorCores = usesTensorCores(shape, [first, second], kernels);
  const weight = (
    name: WeightName,
    sizes: readonly [experts: number, outputs: number, inputs: number],
  ): PlannedWeight => {
    const format = formats[name];
    const isRead = format.kind === "dense" || packed !== undefined ||
      tensorCores && !findLayout(format, sizes, kernels) && isReadable(format, sizes[2]);
    return isRead
      ? { format, parts: partsOf(name), bytes: 0, decode: [] }
      : planDense(name, format, sizes, shape.dtype, kernels);
  };
  const gateUp = weight("gateUpProj", [experts, width, hidden]);
  const down = weight("downProj", [experts, hidden, intermediate]);
  const gateUpProduct = { ...first, format: gateUp.format }, downProduct = { ...second, format: down.format };
  const products = new ProductKernels(shape, [gateUpProduct, downProduct], device, kernels);
  const rowTilesOf = ({ rows }: TileShape) => Math.floor(kept / rows) + busy; // the last tile of each expert may be ragged
  const possible = products.tiles.filter((tile) => hasCounters(tile, rowTilesOf(tile)));
  const packedTiles = packed?.tiles(rowTilesOf);
  const tiles: readonly TileShape[] = packedTiles?.toReversed() ?? possible;
  const tile = tileRows !== undefined
    ? tiles.find(({ rows }) => rows <= tileRows) ?? tiles.at(-1)!
    : packedTiles
    ? chooseTile(packedTiles, { ...choice, resident: ({ resident }) => resident })
    : chooseTile(possible, { ...choice, resident: (tile) => products.resident(tile, gateUpProduct) });
  const rowTiles = rowTilesOf(tile);
  const few = isPackedTile(tile) && tile.rows === fewTile.rows;
  const sorted = counts !== undefined ||
    !(packed ? few && packed.sortsItself() : sortsItself(tile, assignments));
  const maximumRows = Math.min(capacity, assignments); // of an expert
  const sort: SortShape = { count: assignments, experts, topK, capacity: maximumRows, tileRows: tile.rows };
  const stored = sorted ? kept : assignments; // rows of the temporary tensors
  const element = bytesPerElement(shape.dtype);

  const activationBytes = packed && !few
    ? PackedProducts.panelBytes(kept, intermediate)
    : stored * intermediate * element;
  const activationsInOutput = activationBytes <= tokens * hidden * element;
  const workspace = {
    counts: sorted ? sortCounts(sort) * 4 : 0,
    totals: sorted ? experts * 4 : 0,
    rowOffsets: sorted ? (experts + 1) * 4 : 0,
    tileOffsets: sorted ? (experts + 1) * 4 : 0,
    rows: sorted ? assignments * 4 : 0,
    rowTokens: sorted ? kept * 4 : 0,
    rowScales: sorted && hasInputWeights ? kept * 4 : 0,
    panels: packed && !few ? PackedProducts.panelBytes(kept, hidden) : 0,
    activations: activationsInOutput ? 0 : activationBytes,
    expertOutputs: stored * hidden * element,
    gateUpDense: gateUp.bytes,
    downDense: down.bytes,
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
  const sortLaunches = !sorted ? [] : planSort<TensorName>(sort, {
    ...{ indices: "routerIndices", inputWeights: "inputWeights", counts: "counts", totals: "totals", ...offsets },
    ...{ rows: "rows", rowTokens: "rowTokens", rowScales },
  });

  const tensors = { hiddenStates: "hiddenStates", rowTokens: "rowTokens", rowScales, ...offsets } as const;
  const expertBytes = (weight: WeightFormat, shape: readonly [number, number]) => ({
    count: busy,
    bytes: weightBytes(weight, [1, ...shape]) + element * shape[0],
  });
  const gateUpExperts = expertBytes(gateUp.format, [width, hidden]);
  const downExperts = expertBytes(down.format, [hidden, intermediate]);
  const gateUpWork = {
    flops: kept * 2 * hidden * width,
    bytes: busy * gateUpExperts.bytes + element * kept * (hidden + intermediate),
    experts: gateUpExperts,
  };
  const downWork = {
    flops: kept * 2 * hidden * intermediate,
    bytes: busy * downExperts.bytes + element * kept * (intermediate + hidden),
    experts: downExperts,
  };
  const bothWork = {
    flops: gateUpWork.flops + downWork.flops,
    bytes: gateUpWork.bytes + downWork.bytes + (sorted ? 0 : assignments * 4),
    experts: { count: busy, bytes: gateUpExperts.bytes + downExperts.bytes },
  };
  const productLaunches = (): readonly PlannedLaunch[] => {
    if (packed && isPackedTile(tile)) {
      const weights: PackedProductTensors<TensorName> = {
        ...{ gateUpProj: "gateUpProj", gateUpProjBias: "gateUpProjBias", activations },
        ...{ downProj: "downProj", downProjBias: "downProjBias", out: "expertOutputs" },
      };
      if (few) {
        const launch = packed.launchFew<TensorName>(rowTiles, {
          ...{ ...weights, hiddenStates: "hiddenStates", counters: "counters" },
          ...sorted ? { ...tensors, indices: null } : {
            indices: "routerIndices",
            rowOffsets: null,
            tileOffsets: null,
            rowTokens: null,
            rowScales: "inputWeights",
          },
        });
        return [{ ...launch, ...bothWork }];
      }
      const [gather, gateUpLaunch, downLaunch] = packed.launches<TensorName>(tile, kept, rowTiles, {
        ...{ ...tensors, ...weights, indices: "routerIndices", rows: "rows", panels: "panels", counters: "counters" },
      });
      const gatherWork = { flops: 0, bytes: (tokens + kept) * hidden * element + 8 * assignments };
      return [{ ...gather, ...gatherWork }, { ...gateUpLaunch, ...gateUpWork }, { ...downLaunch, ...downWork }];
    }
    if (isStreamTile(tile)) {
      const launches = planStream<TensorName>(
        products.name(tile, gateUpProduct),
        tile,
        shape,
        gateUpProduct,
        downProduct,
        { rowTiles, slots: products.slots(tile, gateUpProduct), assignments, topK, capacity: maximumRows },
        used,
        {
          ...{
            hiddenStates: "hiddenStates",
            gateUpProj: gateUp.parts.values,
            gateUpBias: "gateUpProjBias",
            activations,
          },
          ...{ downProj: down.parts.values, downBias: "downProjBias", out: "expertOutputs", counters: "counters" },
          ...sorted ? { indices: null, ...offsets, rowIndex: "rowTokens", rowScales } : {
            indices: "routerIndices",
            rowOffsets: null,
            tileOffsets: null,
            rowIndex: null,
            rowScales: "inputWeights",
          },
        },
      );
      return launches.length === 1
        ? [{ ...launches[0]!, ...bothWork }]
        : launches.map((launch, i) => ({ ...launch, ...i === 0 ? gateUpWork : downWork }));
    }
    const gateUpLaunch = products.launch<TensorName>(tile, gateUpProduct, { rows: kept, rowTiles }, {
      ...{ input: "hiddenStates", weights: gateUp.parts, bias: "gateUpProjBias", out: activations },
      ...{ rowIndex: "rowTokens", rowScales, ...offsets, counters: "counters" },
    });
    const downLaunch = products.launch<TensorName>(tile, downProduct, { rows: kept, rowTiles }, {
      ...{ input: activations, weights: down.parts, bias: "downProjBias", out: "expertOutputs" },
      ...{ rowIndex: null, rowScales: null, ...offsets, counters: "counters" },
    });
    return [{ ...gateUpLaunch, ...gateUpWork }, { ...downLaunch, ...downWork }];
  };
  const launches: PlannedLaunch[] = [
    ...sortLaunches.map((launch) => ({ ...launch, flops: 0, bytes: sortBytes[launch.kernel] ?? 0 })),
    ...gateUp.decode,
    ...down.decode,
    ...productLaunches(),
    {
      ...planCombine<TensorName>(
        shape.dtype,
        weightsDType,
        {
          ...{ tokens, topK, weightColumns: denseWeights ? experts : topK, denseWeights, width: hidden },
          ...{ slotsReady: true, experts, capacity: maximumRows },
        },
        {
          ...{ expertOutputs: "expertOutputs", rows: sorted ? "rows" : null, weights: "routingWeights" },
          indices: denseWeights || !sorted ? "routerIndices" : null,
          ...{ addend: "addend", addendWeights: "addendWeights", out: "output" },
        },
        device.multiprocessors,
      ),
      flops: 2 * kept * hidden,
      bytes: workspace.expertOutputs + workspace.rows + bytesPerElement(weightsDType) * assignments +
        element * (hasAddend ? 2 : 1) * tokens * hidden,
    },
  ];
  return { tile, launches: launches.filter(({ blocks }) => blocks > 0), workspace }; // without rows, there are no products
}

/** How the kernels of products read a weight. */
interface PlannedWeight {
  readonly format: WeightFormat;
  readonly parts: StoredParts<TensorName>;
  /** Bytes of the decoded weight; 0 if it is read as it is stored. */
  readonly bytes: number;
  /** The launches that decode it. */
  readonly decode: readonly PlannedLaunch[];
}

/** Plans to decode a packed weight before the product. */
function planDense(
  name: WeightName,
  format: PackedFormat,
  shape: readonly number[],
  dtype: DType,
  kernels: readonly KernelRecord[],
): PlannedWeight {
  const out = name === "gateUpProj" ? "gateUpDense" : "downDense";
  const bytes = elementCount(shape) * bytesPerElement(dtype);
  const layout = findLayout(format, shape, kernels);
  const launch = layout
    ? planDecode<TensorName>(format, layout, shape, cudaDTypeCode(dtype), { blocks: name, out })
    : planDecodeStored<TensorName>(format, shape, dtype, partsOf(name), out);
  const decode = [{ ...launch, flops: 0, bytes: weightBytes(format, shape) + bytes }];
  return { format: { kind: "dense", dtype }, parts: denseParts(out), bytes, decode };
}

function isPackedTile(tile: TileShape): tile is PackedTile {
  return "resident" in tile;
}
