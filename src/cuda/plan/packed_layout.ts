// How packed weights are stored on Hopper: in blocks, as cuda/packed_format.cuh describes them.
import type { PackedFormat } from "../../tensor/packed_tensor.ts";
import type { WeightFormat } from "../../contract/weights.ts";
import { checkInt32, checkMaximum } from "../../contract/limits.ts";
import type { KernelLaunch } from "../driver/kernel.ts";
import type { KernelRecord } from "../images/manifest_types.ts";
import { cudaDTypes } from "./codes.ts";

/** Rows and columns of a block, and how many blocks are neighbours. */
const blockRows = 64, blockDepth = 64, strips = 3;

/** The largest E8M0 scale that the kernels decode: weights up to 12. */
export const maximumScale = 128;

/** The dtypes of scales in cuda/packed_fp8.cu. */
const scaleCodes = { f32: cudaDTypes.f32, bf16: cudaDTypes.bf16, e8m0: 3 } as const;

/** Threads that lay out or decode a block. */
const threads = 128;

/** How a format is stored in blocks. */
export interface BlockLayout {
  /** The prefix of the names of the kernels that read it. */
  readonly name: string;
  /** Bytes of a block. */
  readonly bytes: number;
}

/** Finds how a weight is stored in blocks, or undefined if no kernel reads its format and shape in blocks. */
export function findLayout(
  format: WeightFormat,
  [, outputs = 0, inputs = 0]: readonly number[],
  kernels: readonly KernelRecord[],
): BlockLayout | undefined {
  const layout = layoutOf(format, outputs, inputs);
  return layout && kernels.some(({ name }) => name === `${layout.name}_blocks`) ? layout : undefined;
}

function layoutOf(format: WeightFormat, outputs: number, inputs: number): BlockLayout | undefined {
  if (outputs % 2 !== 0) return undefined; // rows are stored in pairs
  if (format.kind === "mxfp4") return { name: "mxfp4", bytes: 2176 };
  if (format.kind !== "fp8" || inputs % 8 !== 0) return undefined;
  const [rows, columns] = format.block;
  if (columns % blockDepth !== 0 && columns < inputs) return undefined;
  // A block has the rows of one band, or gates of one band and up rows of another.
  const half = format.gateUpLayout === "concatenated" ? outputs / 2 : 0;
  const unit = half ? blockRows / 2 : blockRows;
  const bands = rows >= outputs || rows % unit === 0 && half % unit === 0;
  return bands ? { name: "fp8", bytes: 4096 + 16 } : { name: "fp8_rows", bytes: 4096 + 4 * blockRows };
}

/** The number of blocks of a weight [experts, outputs, inputs]. Missing rows and columns are padding. */
export function blockCount([experts = 0, outputs = 0, inputs = 0]: readonly number[]): number {
  return experts * Math.ceil(outputs / (strips * blockRows)) * strips * Math.ceil(inputs / blockDepth);
}

/** The bytes of a weight in blocks. */
export function blocksBytes({ bytes }: BlockLayout, shape: readonly number[]): number {
  return blockCount(shape) * bytes;
}

/** The tensors of a layout. */
export interface LayoutTensors<Pointer> {
  readonly values: Pointer;
  readonly scales: Pointer;
  readonly blocks: Pointer;
}

/** Plans the kernel that lays out a weight, or some experts of it. */
export function planLayout<Pointer>(
  format: PackedFormat,
  { name }: BlockLayout,
  shape: readonly number[],
  tensors: LayoutTensors<Pointer>,
): KernelLaunch<Pointer> {
  const scales = format.kind === "fp8"
    ? { scaleDtype: scaleCodes[format.scale], blockRows: format.block[0], blockColumns: format.block[1] }
    : {};
  return { ...grid(`${name}_blocks`, shape), arguments: { ...tensors, ...sizes(format, shape), ...scales } };
}

/** Plans the kernel that decodes a weight in blocks to a dense tensor of the same shape. */
export function planDecode<Pointer>(
  format: PackedFormat,
  { name }: BlockLayout,
  shape: readonly number[],
  dtype: number,
  tensors: { readonly blocks: Pointer; readonly out: Pointer },
): KernelLaunch<Pointer> {
  return { ...grid(`${name}_decode`, shape), arguments: { ...tensors, ...sizes(format, shape), dtype } };
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
