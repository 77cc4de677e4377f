// The matrix products that workers compute block by block.
import type { Elements } from "../elements.ts";

/**
 * A batch of matrix products, C = epilogue(A B), with sums in f32. The rows of A and C are the rows of all matrices of
 * the batch, one matrix after the other.
 *
 * With a gate, B has two columns for each column of C: the gate's and the up projection's.
 */
export interface Product {
  /** The number of terms of each sum. */
  readonly depth: number;
  /** The number of columns of C. */
  readonly width: number;
  /** [rows, depth]. */
  readonly a: Elements;
  /** [rows]: the row of `a` for each row of the product. Without it, the same row. */
  readonly rowsOfA: Int32Array | undefined;
  /** [batch, depth, columns], or [batch, columns, depth] if it is transposed. Empty, and f32, if the weights are packed. */
  readonly b: Elements;
  /** The weights, if they are packed: [batch, columns, depth]. */
  readonly packed: PackedWeights | undefined;
  readonly isTransposed: boolean;
  /** [batch, columns]. */
  readonly bias: Elements | undefined;
  /** [rows, width]: C. */
  readonly out: Elements;
  /** The codes of the element types. */
  readonly dtypes: { readonly a: number; readonly b: number; readonly bias: number; readonly out: number };
  /** [rows]: a factor for the sums of each row. Without it, 1. */
  readonly rowScales: Float32Array | undefined;
  readonly isGated: boolean;
  /** Whether the gate's columns are the even columns, not the first half. */
  readonly isInterleaved: boolean;
  /** The activation's code and its parameters. */
  readonly activation: number;
  readonly alpha: number;
  readonly limit: number;
  readonly blocking: Blocking;
  /** The path of the library that multiplies. Without it, the kernels do. */
  readonly blas: string | undefined;
}

/** Weights in a packed format; see `PackedTensor`. */
export interface PackedWeights {
  /** The number of matrices. */
  readonly matrices: number;
  /** The code of the numbers, and whether a byte has two. */
  readonly kind: number;
  readonly isPairs: boolean;
  /** The code of the element type that the weights are rounded to. */
  readonly dtype: number;
  readonly values: Uint8Array;
  /** Bytes of the numbers of a row. */
  readonly valueBytes: number;
  /** One scale for each `band` rows and `group` columns of a matrix. */
  readonly scales: Uint8Array | Uint16Array | Float32Array;
  readonly band: number;
  readonly group: number;
  /** The code of the type of the scales, and of the zero points. */
  readonly scaleType: number;
  readonly u8: number;
  /** A factor of the scales for each equal part of a matrix's rows. */
  readonly globalScales: Float32Array | undefined;
  /** A zero point for each scale. */
  readonly zeroPoints: Uint8Array | undefined;
}

/** The sizes of what is packed at a time. */
export interface Blocking {
  /** With fewer rows than this, B is not packed as a whole. */
  readonly fewRows: number;
  /** The maximum depth of one pass: a panel of B, 32 bytes for each step, stays in L1. It determines the order of the sums. */
  readonly depth: number;
  /** Tiles of A, 24 bytes times the depth each, that stay in L2 while the panels of B pass. */
  readonly rowTiles: number;
}

/** A block of C: some rows and some columns of one matrix of the batch. */
export interface Block {
  /** The index of the matrix in the batch. */
  readonly matrix: number;
  readonly row: number;
  readonly rows: number;
  readonly column: number;
  readonly columns: number;
}

/** The rows of A that are packed in a worker's memory, in the area that is first in each layout. */
export interface PackedRows {
  product: Product | undefined;
  /** The layout, the first row and the number of rows. */
  key: string;
}
