// Chooses and launches the kernels of the matrix products.
import type { ExpertsVariant } from "../../contract/experts_options.ts";
import type { KernelLaunch } from "../driver/kernel.ts";
import type { KernelRecord } from "../images/manifest_types.ts";
import { cudaActivationCode } from "./codes.ts";
import { checkInt32, checkMaximum } from "../../contract/limits.ts";
import type { WeightFormat } from "../../contract/weights.ts";
import { partShapes } from "../../tensor/packed_tensor.ts";
import { elementCount } from "../../tensor/tensor.ts";
import { bitsOf, storedArguments, type StoredParts } from "./stored.ts";
import {
  type BoxedTile,
  hopperTiles,
  simtTiles,
  storedBytes,
  storedTiles,
  tensorTiles,
  type TileFamily,
  type TileShape,
} from "./tiles.ts";
import { rowBoxes, splitsColumns, weightBoxes, type WeightSizes } from "./weight_boxes.ts";

/** The properties of a GPU that a plan depends on. */
export interface PlanDevice {
  /** 10 · major + minor. */
  readonly computeCapability: number;
  readonly multiprocessors: number;
  /** Shared memory per multiprocessor, in bytes. */
  readonly sharedBytes: number;
}

/** A product: the rows of each expert times its weights, followed by an activation. */
export interface Product extends WeightSizes {
  /** How the kernel reads the weights. */
  readonly format: WeightFormat;
  readonly activation: ExpertsVariant["activation"] | "none";
  /** Whether the offsets are older than the previous kernel's results, so that a kernel may read them before it waits. */
  readonly offsetsReady: boolean;
}

/** The options that all products of a call share. */
export type ProductVariant = Pick<
  ExpertsVariant,
  "dtype" | "weightLayout" | "gateUpLayout" | "activationAlpha" | "activationLimit"
>;

/** The tensors of a product, as in `struct Product` of cuda/product.cuh. */
export interface ProductTensors<Pointer> {
  readonly input: Pointer;
  /** Only `values` of dense weights. */
  readonly weights: StoredParts<Pointer>;
  readonly bias: Pointer | null;
  readonly out: Pointer;
  readonly rowIndex: Pointer | null;
  readonly rowScales: Pointer | null;
  readonly rowOffsets: Pointer;
  readonly tileOffsets: Pointer;
  /** The backend's counters, which the kernel leaves as it finds them. */
  readonly counters: Pointer;
}

/** The kernels that compute all products of a call. */
export class ProductKernels {
  readonly tiles: TileFamily;
  readonly #variant: ProductVariant;
  readonly #device: PlanDevice;
  readonly #kernels: readonly KernelRecord[];

  /**
   * Chooses the kernels: on tensor cores, with wgmma if the image has it for the activation. Kernels without tensor cores serve
   * f32, rows whose bytes are not a multiple of 16, and dtypes that the tensor cores do not support.
   *
   * Packed weights need tensor cores: see {@linkcode usesTensorCores}.
   */
  constructor(
    variant: ProductVariant,
    products: readonly Product[],
    device: PlanDevice,
    kernels: readonly KernelRecord[],
  ) {
    this.#variant = variant;
    this.#device = device;
    this.#kernels = kernels;
    const swish = products.every(({ activation, gated }) => cudaActivationCode(activation) === Number(gated));
    const hopper = hopperTiles();
    const wgmma = this.#denseName(hopper[0]!, false);
    this.tiles = !usesTensorCores(variant, products, kernels)
      ? simtTiles
      : products.some(({ format }) => format.kind !== "dense")
      ? storedTiles(device.computeCapability)
      : swish && kernels.some(({ name }) => name === wgmma)
      ? hopper
      : tensorTiles(device.computeCapability);
  }

  /** How many blocks of a product's kernel the GPU runs at once. */
  slots(tile: TileShape, product: Product): number {
    return this.#device.multiprocessors * this.resident(tile, product);
  }

  /** How many blocks of a product's kernel a multiprocessor runs at once. */
  resident(tile: TileShape, product: Product): number {
    const kernel = this.name(tile, product);
    const record = this.#kernels.find(({ name }) => name === kernel)!;
    return residentBlocks(this.#device, record, tile.threads, sharedBytes(tile, product));
  }

  /**
   * Plans the launch of a product.
   *
   * @param counts The maximum number of the product's rows, and of their row tiles over all experts.
   * @throws {RangeError} If the product is too large for the kernels' 32-bit indices.
   */
  launch<Pointer>(
    tile: TileShape | BoxedTile,
    product: Product,
    { rows, rowTiles }: { readonly rows: number; readonly rowTiles: number },
    { weights, counters, ...tensors }: ProductTensors<Pointer>,
  ): KernelLaunch<Pointer> {
    const { experts, depth, width, gated, activation, format } = product;
    const { gateUpLayout, weightLayout } = this.#variant;
    const tiles = rowTiles * Math.ceil(width / tile.columns);
    const slots = this.slots(tile, product);
    checkMaximum("The depth of a product", depth);
    checkMaximum("The number of columns of a product", width);
    checkInt32("The number of tiles of a product", tiles + slots);
    checkInt32("The number of columns of all experts", experts * width);
    if (format.kind !== "dense") {
      checkInt32("The number of scales", elementCount(partShapes(format, [experts, width, depth]).scales));
    }
    return {
      kernel: this.name(tile, product),
      blocks: Math.min(tiles, slots),
      threads: tile.threads,
      sharedBytes: sharedBytes(tile, product),
      arguments: {
        ...tensors,
        ...format.kind !== "dense" ? storedArguments(format, weights) : "boxDepth" in tile
          ? {
            weights: { ...weightBoxes(this.#variant, product, tile), pointer: weights.values },
            counters,
            // The rows of a product with a gate are gathered one by one.
            ...!gated && { rows: { ...rowBoxes(this.#variant.dtype, rows, depth, tile), pointer: tensors.input } },
          }
          : { weights: weights.values },
        experts,
        depth,
        columnsWidth: width,
        columnsHalf: gated && gateUpLayout === "concatenated" ? width / 2 : 0,
        ...activationArguments(this.#variant, activation, gated),
        outIn: Number(weightLayout === "out-in"),
        gated: Number(gated),
        offsetsReady: Number(product.offsetsReady),
      },
    };
  }

  /** The name of the kernel that computes a product. */
  name(tile: TileShape | BoxedTile, { gated, format }: Pick<Product, "gated" | "format">): string {
    const { dtype } = this.#variant;
    if (this.tiles === simtTiles) return `simt_${tile.name}_${dtype}`;
    if (format.kind !== "dense") return `${gated ? "gated" : "plain"}_${tile.name}_${dtype}_${bitsOf(format)}bit`;
    return this.#denseName(tile, gated);
  }

  #denseName(tile: TileShape | BoxedTile, gated: boolean): string {
    const { dtype, weightLayout } = this.#variant;
    const split = "boxDepth" in tile && splitsColumns(this.#variant, { gated }); // the boxes have another shape
    const layout = `${weightLayout.replace("-", "_")}${split ? "_split" : ""}`;
    const kind = "streams" in tile ? "" : gated ? "gated_" : "plain_"; // one kernel streams the weights of both products
    return `${kind}${tile.name}_${dtype}_${layout}`;
  }
}

/**
 * Whether tensor cores compute all products of a call: the rows are aligned to 16 bytes, and the image has kernels for the
 * dtype. The format of the weights does not matter.
 */
export function usesTensorCores(
  { dtype }: Pick<ProductVariant, "dtype">,
  products: readonly Pick<Product, "depth" | "width" | "gated">[],
  kernels: readonly KernelRecord[],
): boolean {
  return products.every(({ depth, width, gated }) => depth % 8 === 0 && width % (gated ? 16 : 8) === 0) &&
    kernels.some(({ name }) => name === `plain_16_${dtype}_out_in`);
}

/** The dynamic shared memory of a tile. */
function sharedBytes(tile: TileShape, { format }: Product): number {
  return format.kind === "dense" ? tile.sharedBytes : storedBytes(tile, bitsOf(format));
}

/** The fields of `struct Activation` of cuda/activation.cuh. */
export function activationArguments(
  { activationAlpha, activationLimit }: Pick<ExpertsVariant, "activationAlpha" | "activationLimit">,
  activation: Product["activation"],
  gated: boolean,
): Readonly<Record<string, number>> {
  const oai = activation === "swiglu-oai", limited = oai || activation === "silu" && gated;
  return {
    activationKind: cudaActivationCode(activation),
    activationAlpha: oai ? activationAlpha : 1,
    activationLimit: limited ? activationLimit : Infinity,
    activationShift: oai ? 1 : 0,
  };
}

/** How many blocks of a kernel run on a multiprocessor at once. Registers are allocated in units of 8 per thread. */
function residentBlocks(device: PlanDevice, kernel: KernelRecord, threads: number, sharedBytes: number): number {
  const byRegisters = Math.floor(65536 / (Math.ceil(kernel.registers / 8) * 8 * threads));
  const reserved = device.computeCapability >= 80 ? 1024 : 0;
  const byShared = Math.floor(device.sharedBytes / (sharedBytes + kernel.sharedBytes + reserved));
  return Math.max(1, Math.min(byRegisters, byShared));
}
