// The boxes in which Hopper's kernels copy a product's operands: the counterpart of cuda/warpgroup_gemm.cuh.
//
// The coordinates of a box there are, for weights [in, out]: column, row, gate or up half, expert; for weights [out, in]: depth,
// gate or up half, row, expert; and for rows of the input: depth, row, 0, 0.
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
 * Cuts a product's weights into boxes, one for each step of a tile. If gate and up are split in memory, one box contains both:
 * for weights [out, in] alternating rows, else one half of its columns each.
 */
export function weightBoxes(
  { dtype, weightLayout, gateUpLayout }: Pick<ExpertsVariant, "dtype" | "weightLayout" | "gateUpLayout">,
  { experts, depth, width, gated }: WeightSizes,
  { columns, boxDepth, boxColumns }: BoxedTile,
): TensorBoxes {
  const bytes = bytesPerElement(dtype);
  const parts = gated && gateUpLayout === "concatenated" ? 2 : 1;
  const matrix = depth * width * bytes;
  if (weightLayout === "out-in") {
    const row = depth * bytes;
    return {
      ...{ dtype, sizes: [depth, parts, width / parts, experts], strides: [row * width / parts, row, matrix] },
      ...{ box: [boxDepth, parts, columns / parts, 1], swizzle: 128 },
    };
  }
  const row = width * bytes;
  return {
    ...{ dtype, sizes: [width / parts, depth, parts, experts], strides: [row, row / parts, matrix] },
    ...{ box: [boxColumns / parts, boxDepth, parts, 1], swizzle: parts === 2 ? 64 : 128 },
  };
}

/** Cuts consecutive rows of a product's input into boxes of as many rows as a tile's `rowUnit`. */
export function rowBoxes(
  dtype: DType,
  rows: number,
  depth: number,
  { rowUnit, boxDepth }: Pick<BoxedTile, "rowUnit" | "boxDepth">,
): TensorBoxes {
  const row = depth * bytesPerElement(dtype);
  return {
    ...{ dtype, sizes: [depth, rows, 1, 1], strides: [row, row, row] },
    ...{ box: [boxDepth, rowUnit, 1, 1], swizzle: 128 },
  };
}
