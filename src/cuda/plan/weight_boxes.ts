// The boxes in which Hopper's kernels copy a product's operands: see cuda/warpgroup_loader.cuh and cuda/stream_gemm.cuh.
//
// The coordinates of a box there are, for weights [in, out]: column, row, gate or up half, expert; for weights [out, in]: depth,
// gate or up half, row, expert, or, for tiles with strips, depth, row, half, expert; and for rows of the input: depth, row, 0, 0.
import type { ExpertsVariant } from "../../contract/experts_options.ts";
import { bytesPerElement, type DType } from "../../tensor/tensor.ts";
import type { TensorBoxes } from "../driver/tensor_map.ts";
import type { BoxedTile } from "./tiles.ts";

/** The sizes of a product's weights: [experts][depth][width], or [experts][width][depth]. */
export interface WeightSizes {
  readonly experts: number;
  /** The length of an input row. */
  readonly depth: number;
  /** Columns of the product, before the activation. */
  readonly width: number;
  /** Whether the columns are gate and up columns, which the activation combines to half as many. */
  readonly gated: boolean;
}

/** Whether the gate and up columns of a product are split in each row of its weights. */
export function splitsColumns(
  { weightLayout, gateUpLayout }: Pick<ExpertsVariant, "weightLayout" | "gateUpLayout">,
  { gated }: Pick<WeightSizes, "gated">,
): boolean {
  return gated && weightLayout === "in-out" && gateUpLayout === "concatenated";
}

/**
 * Cuts a product's weights into boxes. If gate and up are split in memory, one box contains both. For tiles with strips it has a
 * strip of gate columns and a strip of their up columns, also if they alternate in weights [out, in]. For other tiles each is half
 * of the box, and rows of weights [out, in] alternate.
 */
export function weightBoxes(
  { dtype, weightLayout, gateUpLayout }: Pick<ExpertsVariant, "dtype" | "weightLayout" | "gateUpLayout">,
  { experts, depth, width, gated }: WeightSizes,
  { boxDepth, boxColumns, strips }: BoxedTile,
): TensorBoxes {
  const bytes = bytesPerElement(dtype);
  const split = gateUpLayout === "concatenated", outIn = weightLayout === "out-in";
  const parts = gated && (split || outIn && strips) ? 2 : 1;
  const matrix = depth * width * bytes;
  if (outIn) {
    const row = depth * bytes;
    const half = { size: parts, stride: split ? row * width / parts : row, box: parts };
    const rows = { size: width / parts, stride: split ? row : row * parts, box: (strips ? 2 : 1) * boxColumns / parts };
    const [inner, outer] = strips ? [rows, half] : [half, rows];
    return {
      ...{ dtype, sizes: [depth, inner.size, outer.size, experts], strides: [inner.stride, outer.stride, matrix] },
      ...{ box: [boxDepth, inner.box, outer.box, 1], swizzle: 128 },
    };
  }
  const row = width * bytes, narrow = parts === 2 && !strips;
  return {
    ...{ dtype, sizes: [width / parts, depth, parts, experts], strides: [row, row / parts, matrix] },
    ...{ box: [narrow ? boxColumns / 2 : boxColumns, boxDepth, parts, 1], swizzle: narrow ? 64 : 128 },
  };
}

/** Cuts consecutive rows of a product's input into boxes of 32 rows. */
export function rowBoxes(dtype: DType, rows: number, depth: number, { boxDepth }: BoxedTile): TensorBoxes {
  const row = depth * bytesPerElement(dtype);
  return {
    ...{ dtype, sizes: [depth, rows, 1, 1], strides: [row, row, row] },
    ...{ box: [boxDepth, 32, 1, 1], swizzle: 128 },
  };
}
