// How packed weights are stored on Hopper: in blocks, as cuda/packed_format.cuh describes them.
import type { PackedFormat, PackedParts } from "../../tensor/packed_tensor.ts";
import type { DType } from "../../tensor/tensor.ts";
import type { WeightFormat } from "../../contract/weights.ts";
import { checkInt32, checkMaximum } from "../../contract/limits.ts";
import type { ArgumentValue, KernelLaunch } from "../driver/kernel.ts";
import type { KernelRecord } from "../images/manifest_types.ts";
import { cudaScales } from "./codes.ts";

/** Rows and columns of a block, and how many blocks are neighbours. */
const blockRows = 64, blockDepth = 64, strips = 3;

/** Threads that lay out or decode a block. */
const threads = 128;

/** The bytes of the scales of a block's rows, if they are not in the blocks. They are copied once for each tile. */
export const rowScaleBytes = 4 * blockRows;

/** The bytes of the largest block of each format that the kernels read, with the scales of its rows. */
export const largestBlock = { mxfp4: 2176, nvfp4: 2560, int4: 2432, fp8: 4352 } as const;

/** The variants of blocks of integers in cuda/packed_int4.cuh. They can be combined. */
const int4Variants = { twoGroups: 1, zeroPoints: 2, f16Scales: 4 } as const;

/** How a weight is stored in blocks. */
export interface BlockLayout {
  /** Bytes of a block. */
  readonly blockBytes: number;
  /** Which scales a block has: see the format's file in cuda/. */
  readonly variant: number;
  /** Whether the blocks of all experts are followed by the scales of their rows: in f32, and again as bf16 kernels read them. */
  readonly hasRowScales?: boolean;
  /** The names of the kernels that multiply it, without the tile, by the dtype of the activations. Otherwise it is decoded. */
  readonly kernels: Partial<Record<DType, string>>;
}

/** Whether an image's kernels read a format in blocks. */
export function usesBlocks({ kind }: WeightFormat, kernels: readonly KernelRecord[]): boolean {
  return kernels.some(({ name }) => name === `${kind}_blocks`);
}

/** Finds how a weight [experts, outputs, inputs] is stored in blocks, or undefined if the kernels do not read it in blocks. */
export function findLayout(
  format: WeightFormat,
  [, outputs = 0, inputs = 0]: readonly number[],
  kernels: readonly KernelRecord[],
): BlockLayout | undefined {
  if (format.kind === "dense" || !usesBlocks(format, kernels)) return undefined;
  const both: BlockLayout["kernels"] = format.needsDecoding ? {} : { bf16: format.kind, f16: format.kind };
  switch (format.kind) {
    case "mxfp4":
      return { blockBytes: largestBlock.mxfp4, variant: 0, kernels: both };
    case "nvfp4": {
      const variant = format.globalScales === 1 || sharesScales(format, outputs / 2, outputs) ? 0 : 1;
      return { blockBytes: 2048 + 256 + (variant ? 4 * blockRows : 16), variant, kernels: both };
    }
    case "int4": {
      if (format.scale === "f32") return undefined;
      const { twoGroups, zeroPoints, f16Scales } = int4Variants;
      const groups = format.group % blockDepth !== 0 && format.group < inputs ? 2 : 1;
      const hasZeroPoints = format.integers === "zero-points";
      return {
        blockBytes: 2048 + groups * blockRows * (hasZeroPoints ? 3 : 2),
        variant: (groups === 2 ? twoGroups : 0) + (hasZeroPoints ? zeroPoints : 0) +
          (format.scale === "f16" ? f16Scales : 0),
        kernels: format.scale === "f16"
          ? { bf16: "int4_split", f16: "int4" }
          : format.needsDecoding
          ? {}
          : { bf16: "int4" }, // a bf16 can be too large or too small for f16
      };
    }
    case "fp8": {
      const [rows, columns] = format.block;
      const hasRowScales = !sharesScales(format, rows, outputs);
      // A block has the scales of one run of columns; those that follow the blocks are for whole rows.
      if (columns < inputs && (hasRowScales || columns % blockDepth !== 0)) return undefined;
      const blockBytes = 4096 + (hasRowScales ? 0 : 128); // copies in lines of 128 bytes are faster
      return { blockBytes, variant: Number(hasRowScales), hasRowScales, kernels: both };
    }
    default:
      return undefined;
  }
}

/**
 * Whether all even rows of a block have the same scale, and all odd rows, if `rows` rows of the weight share a scale. A block
 * has the rows of one band, or gates of one band and up rows of another.
 */
function sharesScales({ gateUpLayout }: PackedFormat, rows: number, outputs: number): boolean {
  const half = gateUpLayout === "concatenated" ? outputs / 2 : 0;
  const unit = half ? blockRows / 2 : blockRows;
  return rows >= outputs || rows === half || rows % unit === 0 && half % unit === 0;
}

/** The number of blocks of a weight [experts, outputs, inputs]. Missing rows and columns are padding. */
export function blockCount([experts = 0, outputs = 0, inputs = 0]: readonly number[]): number {
  return experts * Math.ceil(outputs / (strips * blockRows)) * strips * Math.ceil(inputs / blockDepth);
}

/** The bytes of the blocks of a weight. */
export function blocksBytes({ blockBytes }: BlockLayout, shape: readonly number[]): number {
  return blockCount(shape) * blockBytes;
}

/** The bytes of the scales of rows that follow the blocks of a weight. */
export function rowScalesBytes({ hasRowScales }: BlockLayout, [experts = 0, outputs = 0]: readonly number[]): number {
  return hasRowScales ? 2 * rowScaleBytes * experts * Math.ceil(outputs / (strips * blockRows)) * strips : 0;
}

/**
 * Plans the kernel that lays out a weight, or some experts of it.
 *
 * @param parts The parts of the weight.
 * @param out The results: the blocks, the scales of rows if the layout has them, and for FP8 an i32 that becomes 1 if a number is
 * NaN.
 */
export function planLayout<Pointer>(
  format: PackedFormat,
  layout: BlockLayout,
  shape: readonly number[],
  parts: PackedParts<Pointer>,
  { blocks, rowScales, nans }: { readonly blocks: Pointer; readonly rowScales: Pointer; readonly nans: Pointer | null },
): KernelLaunch<Pointer> {
  return {
    ...grid(`${format.kind}_blocks`, shape),
    arguments: {
      values: parts.values,
      scales: parts.scales,
      blocks,
      ...sizes(format, shape),
      ...{ blockBytes: layout.blockBytes, variant: layout.variant },
      ...details(format, shape, parts),
      ...format.kind === "fp8" && { rowScales: layout.hasRowScales ? rowScales : null, nans },
    },
  };
}

/** The arguments of a layout that only some formats have. */
function details<Pointer>(
  format: PackedFormat,
  [, outputs = 0, inputs = 0]: readonly number[],
  parts: PackedParts<Pointer>,
): Record<string, ArgumentValue<Pointer>> {
  switch (format.kind) {
    case "mxfp4":
      return {};
    case "nvfp4":
      return { globalScales: parts.globalScales ?? null, globals: format.globalScales };
    case "int4": {
      const signBit = format.integers === "signed" ? 8 : 0;
      return { zeroPoints: parts.zeroPoints ?? null, group: format.group, signBit };
    }
    case "fp8": {
      const [rows, columns] = format.block; // can be larger than the weight
      const bandRows = Math.min(rows, outputs), runColumns = Math.min(columns, inputs);
      checkInt32("The number of rows of a weight and of a block of scales", outputs + bandRows);
      checkInt32("The number of columns of a weight and of a block of scales", inputs + runColumns);
      return { scaleDtype: cudaScales[format.scale], bandRows, runColumns };
    }
  }
}

/** Plans the kernel that decodes a weight in blocks to a dense tensor of the same shape. */
export function planDecode<Pointer>(
  format: PackedFormat,
  { blockBytes, variant }: BlockLayout,
  shape: readonly number[],
  dtype: number,
  tensors: { readonly blocks: Pointer; readonly out: Pointer },
): KernelLaunch<Pointer> {
  return {
    ...grid(`${format.kind}_decode`, shape),
    arguments: { ...tensors, ...sizes(format, shape), blockBytes, variant, dtype },
  };
}

function grid(kernel: string, shape: readonly number[]) {
  const blocks = blockCount(shape);
  for (const size of shape) checkMaximum("The size of a packed weight", size);
  checkInt32("The number of blocks of a weight", blocks);
  return { kernel, blocks, threads, sharedBytes: 0 };
}

function sizes({ gateUpLayout }: PackedFormat, [, width = 0, depth = 0]: readonly number[]) {
  return { width, depth, half: gateUpLayout === "concatenated" ? width / 2 : 0 };
}
