// Packed weights that the kernels read as they are published: the counterpart of cuda/stored_weights.cuh.
import { checkInt32, checkMaximum, maximumItems } from "../../contract/limits.ts";
import type { PackedFormat, PackedParts } from "../../tensor/packed_tensor.ts";
import { type DType, elementCount } from "../../tensor/tensor.ts";
import type { KernelLaunch } from "../driver/kernel.ts";
import { cudaDTypeCode, cudaNumbers, cudaScales } from "./codes.ts";

/** Threads that decode a row. */
const decodeThreads = 256;

/** The names or pointers of the parts of a packed weight. Those that its format does not have are not read. */
export interface StoredParts<Pointer> extends Readonly<Record<keyof PackedParts, Pointer | null>> {
  readonly values: Pointer;
}

/** The name of a weight, and of its values. */
export type WeightName = "gateUpProj" | "downProj";

/** The name of another part of a packed weight. */
export type PartName = `${WeightName}.${Exclude<keyof PackedParts, "values">}`;

/** The names of the parts of a packed weight. */
export function partsOf(name: WeightName): StoredParts<WeightName | PartName> {
  return {
    ...{ values: name, scales: `${name}.scales`, globalScales: `${name}.globalScales` },
    zeroPoints: `${name}.zeroPoints`,
  };
}

/** The parts of a dense weight. */
export function denseParts<Pointer>(values: Pointer): StoredParts<Pointer> {
  return { values, scales: null, globalScales: null, zeroPoints: null };
}

/** The bits of a number. */
export function bitsOf({ kind }: PackedFormat): 4 | 8 {
  return kind === "fp8" ? 8 : 4;
}

/**
 * Whether the matrix products on tensor cores can read a weight with rows of `depth` inputs: the numbers that are multiplied in
 * one step are copied in 16 bytes each, and share a scale.
 */
export function isReadable(format: PackedFormat, depth: number): boolean {
  if (format.kind !== "fp8") return depth % 32 === 0;
  const [, columns] = format.block;
  return depth % 16 === 0 && (columns % 32 === 0 || columns >= depth);
}

/** The fields of `struct StoredWeights`. */
export function storedArguments<Pointer>(format: PackedFormat, parts: StoredParts<Pointer>) {
  const { values, scales, zeroPoints, globalScales } = parts;
  return {
    ...{ weightsValues: values, weightsScales: scales },
    ...{ weightsZeroPoints: zeroPoints, weightsGlobalScales: globalScales },
    ...encoding(format),
    weightsGlobals: format.kind === "nvfp4" ? format.globalScales : 0,
  };
}

function encoding(format: PackedFormat) {
  const fields = (numbers: number, scale: number, rows: number, columns: number) => ({
    ...{ weightsNumbers: numbers, weightsScaleFormat: scale, weightsScaleRows: rows, weightsScaleColumns: columns },
  });
  switch (format.kind) {
    case "mxfp4":
      return fields(cudaNumbers.e2m1, cudaScales.e8m0, 1, 32);
    case "nvfp4":
      return fields(cudaNumbers.e2m1, cudaScales.e4m3, 1, 16);
    case "int4": {
      const numbers = format.integers === "signed" ? cudaNumbers.signed : cudaNumbers.unsigned;
      return fields(numbers, cudaScales[format.scale], 1, format.group);
    }
    case "fp8":
      return fields(cudaNumbers.e4m3, cudaScales[format.scale], limited(format.block[0]), limited(format.block[1]));
  }
}

/** The size of a block, which may be larger than any tensor. */
function limited(size: number): number {
  return Math.min(size, maximumItems);
}

/**
 * Plans the kernel that decodes a weight [experts, outputs, inputs] to a dense tensor of the same shape.
 *
 * @throws {RangeError} If the weight is too large for the kernel's 32-bit indices.
 */
export function planDecodeStored<Pointer>(
  format: PackedFormat,
  shape: readonly number[],
  dtype: DType,
  parts: StoredParts<Pointer>,
  out: Pointer,
): KernelLaunch<Pointer> {
  const [, width = 0, depth = 0] = shape;
  const rows = elementCount(shape.slice(0, 2));
  for (const size of shape) checkMaximum("The size of a packed weight", size);
  checkInt32("The number of rows of a packed weight", rows);
  return {
    ...{ kernel: "decode_stored", blocks: rows, threads: decodeThreads, sharedBytes: 0 },
    arguments: { ...storedArguments(format, parts), out, width, depth, dtype: cudaDTypeCode(dtype) },
  };
}
