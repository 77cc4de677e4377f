// The kernels of the matrix products: which of them serve a call, and what they are launched with.
import type { ExpertsVariant } from "../../contract/experts_options.ts";
import { activationKinds } from "./codes.ts";
import type { KernelRecord } from "../images/manifest_types.ts";
import type { Argument, LaunchShape } from "../driver/kernel.ts";
import type { TensorBoxes } from "../driver/tensor_map.ts";
import { type BoxedTile, simtTiles, tensorTiles, type TileFamily, type TileShape, wgmmaTiles } from "./tiles.ts";
import { weightBoxes, type WeightSizes } from "./weight_boxes.ts";

/** What the plan needs to know of a GPU. */
export interface PlanDevice {
  /** 10 · major + minor. */
  readonly computeCapability: number;
  readonly multiprocessors: number;
  /** Shared memory of a multiprocessor. */
  readonly sharedBytes: number;
}

/** One product: for each expert, its rows times its weights. */
export interface Product extends WeightSizes {
  /** Which activation follows. */
  readonly activation: ExpertsVariant["activation"] | "none";
}

/** A launch without the number of its blocks. */
export type BlockShape = Omit<LaunchShape, "blocks"> & {
  readonly kernel: string;
  /** How many blocks the GPU holds at once. */
  readonly slots: number;
};

/** A tensor that is copied in boxes. */
export type Boxed<Pointer> = TensorBoxes & { readonly pointer: Pointer };

/** What all products of a call have in common. */
export type ProductVariant = Pick<
  ExpertsVariant,
  "dtype" | "weightLayout" | "gateUpLayout" | "activationAlpha" | "activationLimit"
>;

/** Kernels that compute all products of a call. */
export class ProductKernels {
  readonly tiles: TileFamily;
  readonly #variant: ProductVariant;
  readonly #device: PlanDevice;
  readonly #kernels: readonly KernelRecord[];

  /**
   * Chooses them: those on tensor cores, by wgmma where the image has it for the activation; or, for f32, for rows whose bytes
   * are no multiple of 16, and where tensor cores do not know the dtype, those without.
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
    const has = (family: TileFamily) => {
      const wanted = this.#name(family[0]!, false, family);
      return kernels.some(({ name }) => name === wanted);
    };
    const chunks = products.every(({ depth, width, gated }) => depth % 8 === 0 && width % (gated ? 16 : 8) === 0);
    const swish = products.every(({ activation, gated }) => activationKinds[activation] === Number(gated));
    const tensor = tensorTiles(device.computeCapability);
    const wgmma = wgmmaTiles(products.some((product) => this.#apart(product)));
    this.tiles = !chunks || !has(tensor) ? simtTiles : swish && has(wgmma) ? wgmma : tensor;
  }

  /** How a product is launched in tiles of a shape. */
  blockShape(tile: TileShape, { gated }: Pick<Product, "gated">): BlockShape {
    const kernel = this.#name(tile, gated);
    const record = this.#kernels.find(({ name }) => name === kernel)!;
    const { threads, sharedBytes } = tile;
    const slots = this.#device.multiprocessors * residentBlocks(this.#device, record, threads, sharedBytes);
    return { kernel, threads, sharedBytes, slots };
  }

  /** How a product's kernel is given the weights that a pointer, or what stands for it, points to. */
  weights<Pointer>(tile: TileShape | BoxedTile, product: Product, pointer: Pointer): Pointer | Boxed<Pointer> {
    return "boxDepth" in tile ? { ...weightBoxes(this.#variant, product, tile), pointer } : pointer;
  }

  /** The arguments that follow the pointers. */
  arguments({ experts, depth, width, gated, activation }: Product): Argument[] {
    const { gateUpLayout, weightLayout, activationAlpha, activationLimit } = this.#variant;
    const oai = activation === "swiglu-oai", limited = oai || activation === "silu" && gated;
    return [
      ...[experts, depth, width, gated && gateUpLayout === "concatenated" ? width / 2 : 0],
      activationKinds[activation],
      ...[oai ? activationAlpha : 1, limited ? activationLimit : Infinity, oai ? 1 : 0].map((float) => ({ float })),
      ...(this.tiles === simtTiles ? [Number(weightLayout === "out-in"), Number(gated)] : []),
    ];
  }

  /** Whether a product's gates and ups lie apart in the rows of its weights. */
  #apart({ gated }: Pick<Product, "gated">): boolean {
    return gated && this.#variant.weightLayout === "in-out" && this.#variant.gateUpLayout === "concatenated";
  }

  #name(tile: TileShape | BoxedTile, gated: boolean, family = this.tiles): string {
    const { dtype, weightLayout } = this.#variant;
    if (family === simtTiles) return `simt_${tile.name}_${dtype}`;
    // Gates and ups that lie apart make boxes of another shape.
    const layout = `${weightLayout.replace("-", "_")}${"boxDepth" in tile && this.#apart({ gated }) ? "_apart" : ""}`;
    return `${gated ? "gated" : "plain"}_${tile.name}_${dtype}_${layout}`;
  }
}

/** How many blocks of a kernel a multiprocessor holds at once: registers come in 8 a thread, shared memory in 1 KiB more. */
function residentBlocks(device: PlanDevice, kernel: KernelRecord, threads: number, sharedBytes: number): number {
  const byRegisters = Math.floor(65536 / (Math.ceil(kernel.registers / 8) * 8 * threads));
  const reserved = device.computeCapability >= 80 ? 1024 : 0;
  const byShared = Math.floor(device.sharedBytes / (sharedBytes + kernel.sharedBytes + reserved));
  return Math.max(1, Math.min(byRegisters, byShared));
}
