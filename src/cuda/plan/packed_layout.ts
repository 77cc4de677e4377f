// How packed weights are stored on Hopper: in blocks, as cuda/packed_format.cuh describes them.
import type { PackedFormat } from "../../tensor/packed_tensor.ts";
import type { WeightFormat } from "../../contract/weights.ts";
import { checkInt32, checkMaximum } from "../../contract/limits.ts";
import type { KernelLaunch } from "../driver/kernel.ts";
import type { KernelRecord } from "../images/manifest_types.ts";

/** Rows and columns of a block, and how many blocks are neighbours. */
const blockRows = 64, blockDepth = 64, strips = 3;

/** The largest E8M0 scale that the kernels decode: weights up to 12. */
export const maximumScale = 128;

/** Threads that lay out or decode a block. */
const threads = 128;

/** The bytes of a block in each format that the kernels read. */
const blockBytes: Readonly<Partial<Record<PackedFormat["kind"], number>>> = { mxfp4: 2176 };

/** Whether an image's kernels read a format in blocks. Then every tensor of the format is laid out in blocks at upload. */
export function usesBlocks(format: WeightFormat, kernels: readonly KernelRecord[]): boolean {
  return kernels.some(({ name }) => name === `${format.kind}_blocks`);
}

/** The number of blocks of a weight [experts, outputs, inputs]. Missing rows and columns are padding. */
export function blockCount([experts = 0, outputs = 0, inputs = 0]: readonly number[]): number {
  return experts * Math.ceil(outputs / (strips * blockRows)) * strips * Math.ceil(inputs / blockDepth);
}

/** The bytes of a weight in blocks. */
export function blocksBytes(format: PackedFormat, shape: readonly number[]): number {
  return blockCount(shape) * blockSize(format);
}

/** The bytes of a block. */
export function blockSize({ kind }: PackedFormat): number {
  const bytes = blockBytes[kind];
  if (bytes === undefined) throw new TypeError(`The kernels do not read ${kind} in blocks`);
  return bytes;
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
  shape: readonly number[],
  tensors: LayoutTensors<Pointer>,
): KernelLaunch<Pointer> {
  return { ...grid(`${format.kind}_blocks`, shape), arguments: { ...tensors, ...sizes(format, shape) } };
}

/** Plans the kernel that decodes a weight in blocks to a dense tensor of the same shape. */
export function planDecode<Pointer>(
  format: PackedFormat,
  shape: readonly number[],
  dtype: number,
  tensors: { readonly blocks: Pointer; readonly out: Pointer },
): KernelLaunch<Pointer> {
  return { ...grid(`${format.kind}_decode`, shape), arguments: { ...tensors, ...sizes(format, shape), dtype } };
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
