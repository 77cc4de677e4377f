// The boxes in which Hopper's kernels copy a product's weights: the other half of cuda/warpgroup_gemm.cuh. Coordinates there are
// along the rows in memory, across them, between gates and ups, and between experts; or, of weights [out, in], along the depth,
// between gates and ups, along them, and between experts.
import type { ExpertsVariant } from "../../contract/experts_options.ts";
import { bytesPerElement } from "../../tensor/tensor.ts";
import type { TensorBoxes } from "../driver/tensor_map.ts";
import type { BoxedTile } from "./tiles.ts";

/** The sizes of a product's weights: [experts][depth][width], or [experts][width][depth]. */
export interface WeightSizes {
  readonly experts: number;
  /** Length of a row that goes in. */
  readonly depth: number;
  /** Columns of the weights. */
  readonly width: number;
  /** Whether the columns are gates and ups, and those that come out half as many. */
  readonly gated: boolean;
}

/**
 * Cuts a product's weights into boxes of a step of a tile. Gates and ups that lie apart in memory come together in one box: of
 * weights [out, in] one by one in turn, else in halves of its columns.
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
