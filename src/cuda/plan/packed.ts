// Plans the products with packed weights on Hopper: see cuda/packed_gemm.cuh.
import type { ResolvedExperts } from "../../contract/resolve_experts.ts";
import { checkInt32, checkMaximum } from "../../contract/limits.ts";
import type { WeightFormat } from "../../contract/weights.ts";
import type { PackedFormat } from "../../tensor/packed_tensor.ts";
import type { KernelLaunch } from "../driver/kernel.ts";
import type { KernelRecord } from "../images/manifest_types.ts";
import { fewBlock, fewTile, otherCounters, sortsFew, stageWeightBytes } from "./packed_few.ts";
import { type BlockLayout, findLayout } from "./packed_layout.ts";
import { type PackedTile, packedTiles } from "./packed_tiles.ts";
import { activationArguments, type PlanDevice } from "./product.ts";
import { counterCount } from "./stream.ts";
import type { TileShape } from "./tiles.ts";

const gatherThreads = 256, gatherTokens = 32; // of a block
const panelColumns = 64;

/** The weights, biases and results of both products; cuda/packed_tiles.cuh describes them. */
export interface PackedProductTensors<Pointer> {
  readonly gateUpProj: Pointer;
  readonly gateUpProjBias: Pointer | null;
  readonly activations: Pointer;
  readonly downProj: Pointer;
  readonly downProjBias: Pointer | null;
  readonly out: Pointer;
}

/** The tensors of both products with sorted assignments. */
export interface PackedTensors<Pointer> extends PackedProductTensors<Pointer> {
  readonly hiddenStates: Pointer;
  /** The expert of each assignment. */
  readonly indices: Pointer;
  /** The row of each assignment, or -1. */
  readonly rows: Pointer;
  readonly rowOffsets: Pointer;
  readonly rowScales: Pointer | null;
  /** The gathered hidden states. */
  readonly panels: Pointer;
  /** The backend's counters, which the kernels leave as they find them. */
  readonly counters: Pointer;
}

/** The tensors of both products with the tile of 16 rows; cuda/packed_few.cuh describes them. */
export interface PackedFewTensors<Pointer> extends PackedProductTensors<Pointer> {
  readonly hiddenStates: Pointer;
  /** The expert of each assignment, if the kernel sorts them; or else null, and the next three describe the rows. */
  readonly indices: Pointer | null;
  readonly rowOffsets: Pointer | null;
  readonly tileOffsets: Pointer | null;
  readonly rowTokens: Pointer | null;
  readonly rowScales: Pointer | null;
  readonly counters: Pointer;
}

/** The sizes of both products. */
type PackedShape = Pick<
  ResolvedExperts,
  | "dtype"
  | "hidden"
  | "intermediate"
  | "experts"
  | "tokens"
  | "topK"
  | "capacity"
  | "formats"
  | "gated"
  | "gateUpLayout"
  | "activation"
  | "activationAlpha"
  | "activationLimit"
>;

/** Plans both products of experts whose weights are packed. */
export class PackedProducts {
  readonly #tiles: readonly [few: PackedTile, ...PackedTile[]];
  readonly #shape: PackedShape;
  readonly #device: PlanDevice;
  readonly #kernel: string;
  readonly #gateUp: BlockLayout;
  readonly #down: BlockLayout;

  private constructor(
    shape: PackedShape,
    device: PlanDevice,
    kernel: string,
    kind: PackedFormat["kind"],
    gateUp: BlockLayout,
    down: BlockLayout,
  ) {
    this.#tiles = packedTiles(kind, shape.dtype === "f16" ? "f16" : "bf16");
    this.#shape = shape;
    this.#device = device;
    this.#kernel = kernel;
    this.#gateUp = gateUp;
    this.#down = down;
  }

  /** Returns the products, or undefined if the kernels cannot multiply with these weights as they are stored. */
  static find(shape: PackedShape, device: PlanDevice, kernels: readonly KernelRecord[]): PackedProducts | undefined {
    const { experts, hidden, intermediate, formats: { gateUpProj, downProj } } = shape;
    if (!isPackedFormat(gateUpProj) || !isPackedFormat(downProj) || !shape.gated) return undefined;
    const { gateUpLayout = "interleaved" } = gateUpProj;
    if (shape.gateUpLayout !== gateUpLayout || downProj.gateUpLayout === "concatenated") return undefined;
    if (gateUpProj.kind !== downProj.kind || hidden % 8 !== 0 || intermediate % 8 !== 0) return undefined;
    const gateUp = findLayout(gateUpProj, [experts, 2 * intermediate, hidden], kernels);
    const down = findLayout(downProj, [experts, hidden, intermediate], kernels);
    const kernel = gateUp?.kernels[shape.dtype];
    if (!gateUp || !down || !kernel || kernel !== down.kernels[shape.dtype]) return undefined;
    return new PackedProducts(shape, device, kernel, gateUpProj.kind, gateUp, down);
  }

  /** Whether the kernel of {@linkcode fewTile} can sort the assignments itself. It drops none. */
  sortsItself(): boolean {
    return sortsFew(this.#shape, this.#stageWeightBytes());
  }

  #stageWeightBytes(): number {
    return Math.max(stageWeightBytes(this.#gateUp), stageWeightBytes(this.#down));
  }

  /**
   * The tiles that can compute a call, fewest rows first.
   *
   * @param rowTiles Returns the maximum number of row tiles.
   */
  tiles(rowTiles: (tile: TileShape) => number): readonly PackedTile[] {
    return rowTiles(fewTile) + otherCounters <= counterCount ? this.#tiles : this.#tiles.slice(1);
  }

  /** The bytes of panels with so many rows and columns. */
  static panelBytes(rows: number, columns: number): number {
    return rows * Math.ceil(columns / panelColumns) * panelColumns * 2;
  }

  /** Plans the kernel that gathers the hidden states, and those of both products. N rows at most. */
  launches<Pointer>(tile: PackedTile, rows: number, rowTiles: number, tensors: PackedTensors<Pointer>): readonly [
    gather: KernelLaunch<Pointer>,
    gateUp: KernelLaunch<Pointer>,
    down: KernelLaunch<Pointer>,
  ] {
    const { tokens, topK, hidden, intermediate, experts, gateUpLayout } = this.#shape;
    const { hiddenStates, indices, rowOffsets, rowScales, panels, activations, counters } = tensors;
    const product = (down: boolean): KernelLaunch<Pointer> => {
      const width = down ? hidden : 2 * intermediate;
      const tiles = rowTiles * Math.ceil(width / tile.columns);
      const slots = this.#device.multiprocessors * tile.resident;
      checkInt32("The number of tiles of a product", tiles + slots);
      return {
        kernel: `${this.#kernel}_${tile.name}_${this.#shape.dtype}`,
        blocks: Math.min(tiles, slots),
        threads: tile.threads,
        sharedBytes: tile.sharedBytes + 4 * (experts + 1),
        arguments: {
          ...this.#product("product", down, panels, tensors),
          ...activationArguments(this.#shape, this.#shape.activation, true),
          ...{ rowScales, rowOffsets, counters, experts, rows, down: Number(down) },
          split: Number(gateUpLayout === "concatenated"),
        },
      };
    };
    const blocks = Math.ceil(tokens / gatherTokens) * Math.ceil(hidden / panelColumns);
    checkInt32("The number of threads of the gather", blocks * gatherThreads + 8 * rows);
    return [
      {
        ...{ kernel: "gather_panels", blocks, threads: gatherThreads, sharedBytes: 0 },
        arguments: {
          ...{ input: hiddenStates, indices, rows: tensors.rows, rowOffsets, panels, activations },
          ...{ tokens, topK, depth: hidden, intermediate, panelRows: rows },
        },
      },
      product(false),
      product(true),
    ];
  }

  /** Plans the kernel of {@linkcode fewTile}. */
  launchFew<Pointer>(rowTiles: number, tensors: PackedFewTensors<Pointer>): KernelLaunch<Pointer> {
    const { hidden, intermediate, experts, tokens, topK, gateUpLayout } = this.#shape;
    const { hiddenStates, indices, rowOffsets, tileOffsets, rowTokens, rowScales, counters } = tensors;
    const { multiprocessors } = this.#device;
    const gateUpTiles = rowTiles * Math.ceil(2 * intermediate / fewTile.columns);
    const tiles = gateUpTiles + rowTiles * Math.ceil(hidden / fewTile.columns);
    // The blocks that take few tiles first are spread evenly over the multiprocessors, because fewer share one.
    const resident = Math.min(
      fewTile.resident,
      Math.ceil(gateUpTiles / multiprocessors),
    );
    const block = fewBlock(this.#shape, this.#stageWeightBytes(), indices !== null, resident);
    const slots = multiprocessors * resident;
    checkInt32("The number of tiles of both products", tiles + 2 * slots);
    return {
      kernel: `${this.#kernel}_${fewTile.name}_${this.#shape.dtype}`,
      blocks: Math.min(tiles, slots),
      threads: fewTile.threads,
      sharedBytes: block.sharedBytes,
      arguments: {
        ...this.#product("gateUp", false, hiddenStates, tensors),
        ...this.#product("down", true, hiddenStates, tensors),
        ...activationArguments(this.#shape, this.#shape.activation, true),
        ...{ indices, rowOffsets, tileOffsets, rowTokens, rowScales, counters },
        ...{ experts, assignments: tokens * topK, topK, split: Number(gateUpLayout === "concatenated") },
        ...{ stages: block.stages, stageBytes: block.stageBytes },
      },
    };
  }

  /** The fields of `struct PackedProduct` of cuda/packed_tiles.cuh. */
  #product<Pointer>(
    name: "product" | "gateUp" | "down",
    down: boolean,
    input: Pointer,
    tensors: PackedProductTensors<Pointer>,
  ) {
    const { hidden, intermediate } = this.#shape;
    const { activations, gateUpProj, gateUpProjBias, downProj, downProjBias, out } = tensors;
    const width = down ? hidden : 2 * intermediate;
    checkMaximum("The number of columns of a product", width);
    const { blockBytes, variant } = down ? this.#down : this.#gateUp;
    return {
      [`${name}Weights`]: down ? downProj : gateUpProj,
      [`${name}Input`]: down ? activations : input,
      [`${name}Bias`]: down ? downProjBias : gateUpProjBias,
      [`${name}Out`]: down ? out : activations,
      [`${name}Depth`]: down ? intermediate : hidden,
      [`${name}Width`]: width,
      [`${name}BlockBytes`]: blockBytes,
      [`${name}Variant`]: variant,
    };
  }
}

/** Whether a weight is packed. */
export function isPackedFormat(format: WeightFormat): format is PackedFormat {
  return format.kind !== "dense";
}
