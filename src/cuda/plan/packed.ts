// Plans the products with packed weights on Hopper: see cuda/packed_gemm.cuh.
import type { ResolvedExperts } from "../../contract/resolve_experts.ts";
import { checkInt32, checkMaximum, maximumExperts } from "../../contract/limits.ts";
import type { WeightFormat } from "../../contract/weights.ts";
import type { PackedFormat } from "../../tensor/packed_tensor.ts";
import type { KernelLaunch } from "../driver/kernel.ts";
import type { KernelRecord } from "../images/manifest_types.ts";
import { fewBlock, fewTile, otherCounters, sortsFew, stageWeightBytes } from "./packed_few.ts";
import { type BlockLayout, findLayout, largestBlock } from "./packed_layout.ts";
import { activationArguments, type PlanDevice } from "./product.ts";
import { counterCount } from "./stream.ts";
import type { TileShape } from "./tiles.ts";

const gatherThreads = 256, gatherRows = 32, gatherPanels = 9; // of a block
const panelColumns = 64;
const ticketBytes = 16 * 40; // of a block

/** A tile shape of cuda/packed.cu. */
export interface PackedTile extends TileShape {
  /** Blocks that share a multiprocessor. */
  readonly resident: number;
  /** The numbers of rows of the multiplications, ascending. */
  readonly widths: readonly number[];
}

/**
 * The nanoseconds in which a multiprocessor multiplies in a step, measured on an H200: a constant, and those of each row; for a
 * strip with the tile of 16 rows, and for the three strips of the others.
 */
const stepTimes = {
  mxfp4: { few: [68, 1.9], many: [270, 3.4] },
  nvfp4: { few: [107, 3.1], many: [430, 4.4] },
  int4: { few: [68, 2.1], many: [330, 4.4] },
  fp8: { few: [128, 0.8], many: [430, 4.2] },
} as const;

/** The tile shapes for blocks of weights of at most so many bytes, fewest rows first. */
function packedTiles(bytes: number): readonly PackedTile[] {
  return [
    { rows: 64, maximumStages: 14, widths: [8, 16, 32, 48, 64] },
    { rows: 160, maximumStages: 8, widths: [96, 128, 144, 160] },
    { rows: 192, maximumStages: 7, widths: [64, 128, 192] },
  ].map(({ rows, maximumStages, widths }) => {
    const stage = rows * 128 + 3 * bytes + 16;
    const stages = Math.min(maximumStages, Math.floor((227 * 1024 - ticketBytes - 4 * (maximumExperts + 1)) / stage));
    return {
      ...{ rows, columns: 192, widths, resident: 1, name: `${rows}` },
      ...{ threads: 512, sharedBytes: stages * stage + ticketBytes },
    };
  });
}

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
  readonly rowTokens: Pointer;
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

type PackedKind = PackedFormat["kind"];

/** Plans both products of experts whose weights are packed. */
export class PackedProducts {
  readonly #tiles: readonly PackedTile[];
  readonly #shape: PackedShape;
  readonly #device: PlanDevice;
  readonly #kernel: string;
  readonly #kind: PackedKind;
  readonly #gateUp: BlockLayout;
  readonly #down: BlockLayout;

  private constructor(
    shape: PackedShape,
    device: PlanDevice,
    kernel: string,
    kind: PackedKind,
    gateUp: BlockLayout,
    down: BlockLayout,
  ) {
    this.#tiles = packedTiles(largestBlock[kind]);
    this.#shape = shape;
    this.#device = device;
    this.#kernel = kernel;
    this.#kind = kind;
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
    return rowTiles(fewTile) + otherCounters <= counterCount ? [fewTile, ...this.#tiles] : this.#tiles;
  }

  /** The bytes of panels with so many rows and columns. */
  static panelBytes(rows: number, columns: number): number {
    return rows * Math.ceil(columns / panelColumns) * panelColumns * 2;
  }

  /**
   * Chooses the fastest tile by a model of the time of one step of a tile, in nanoseconds: the time in which the memory delivers its
   * weights (the share of a multiprocessor of an H100 is 23.5 bytes), or that of the multiplications.
   *
   * @param choices The tiles to choose from.
   * @param busy The number of experts that have rows.
   * @param rows The mean number of their rows.
   */
  chooseTile(choices: readonly PackedTile[], busy: number, rows: number): PackedTile {
    const { hidden, intermediate } = this.#shape;
    const times = stepTimes[this.#kind];
    const cost = ({ rows: maximum, columns, resident, widths }: PackedTile) => {
      const [constant, perRow] = resident > 1 ? times.few : times.many;
      const late = maximum === 192 && this.#kind !== "mxfp4" ? 60 : 0; // the other formats cannot load weights ahead there
      const step = (count: number) => constant + perRow * (widths.find((width) => width >= count) ?? maximum) + late;
      const memory = (columns / 64) * this.#gateUp.blockBytes / 23.5;
      const expert = (count: number) => {
        const full = Math.ceil(count / maximum) - 1;
        return resident * Math.max(memory, full * step(maximum) + step(count - full * maximum)); // L2 keeps the weights
      };
      const rowTiles = (count: number) => Math.ceil(count / maximum);
      const slots = this.#device.multiprocessors * resident;
      const around = [-1, -0.3, 0.3, 1].map((sigma) => Math.max(1, Math.round(rows + sigma * Math.sqrt(rows))));
      const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value) / values.length;
      const tiles = busy * mean(around.map(rowTiles));
      const time = mean(around.map(expert)) / mean(around.map(rowTiles));
      const waves = (width: number) => {
        const share = tiles * Math.ceil(width / columns) / slots;
        // Blocks of a multiprocessor share its bandwidth. The others take tickets; at the end some find no tile.
        return resident > 1 ? Math.max(0.5, share) : Math.max(1, share + 0.2);
      };
      return time * (waves(2 * intermediate) * hidden + waves(hidden) * intermediate);
    };
    const costs = choices.map(cost);
    return choices[costs.indexOf(Math.min(...costs))]!;
  }

  /** Plans the kernel that gathers the hidden states, and those of both products. N rows at most. */
  launches<Pointer>(tile: PackedTile, rows: number, rowTiles: number, tensors: PackedTensors<Pointer>): readonly [
    gather: KernelLaunch<Pointer>,
    gateUp: KernelLaunch<Pointer>,
    down: KernelLaunch<Pointer>,
  ] {
    const { hidden, intermediate, experts, gateUpLayout } = this.#shape;
    const { hiddenStates, rowTokens, rowOffsets, rowScales, panels, activations, counters } = tensors;
    const panelGroups = Math.ceil(Math.ceil(hidden / panelColumns) / gatherPanels);
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
    const blocks = Math.ceil(rows / gatherRows) * panelGroups;
    checkInt32("The number of threads of the gather", blocks * gatherThreads + 8 * rows);
    return [
      {
        ...{ kernel: "gather_panels", blocks, threads: gatherThreads, sharedBytes: 0 },
        arguments: {
          ...{ input: hiddenStates, rowTokens, rowOffsets, panels, activations },
          ...{ experts, depth: hidden, intermediate, rows },
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
