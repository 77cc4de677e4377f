import type { Context } from "../context.ts";
import type { operands } from "./operands.ts";
import type { packedRows } from "./packed_rows.ts";
import type { Block, PackedRows, PackedWeights, Product } from "./product.ts";

/** The layout of a piece of B in the memory of the worker; see the kernel `multiplyFew`. */
interface Piece {
  readonly dtype: number;
  readonly pairs: boolean;
  readonly at: number;
  readonly stride: number;
}

/**
 * Computes a block with few rows. B is staged and multiplied piece by piece, because packing it takes longer than the
 * product.
 */
export function fewProduct(
  context: Context,
  product: Product,
  block: Block,
  packed: PackedRows,
  parts: { readonly operands: typeof operands; readonly packedRows: typeof packedRows },
): void {
  const { kernels } = context;
  const { depth, blocking, isTransposed, dtypes: { a: aDType, b: dtype } } = product;
  const { row, rows, columns } = block;
  const operand = parts.operands(context, product, block);
  const { aSize, size, outSize, pairs, isSplit, groups, groupColumns, columnBytes } = operand;
  const paddedDepth = Math.ceil(depth / 4) * 4;
  const passes = Math.max(1, Math.ceil(paddedDepth / blocking.depth));
  const passDepth = Math.ceil(paddedDepth / passes / 4) * 4;
  const panelStride = rows * 32;
  const lineBytes = depth * size;
  // One row of A is limited by the copies of B, which are fastest into L1. More rows are limited by the multiply-adds.
  const pieceRows = isTransposed ? 128 : rows > 1 ? 64 : Math.min(32, Math.max(1, Math.floor(8192 / columnBytes)));
  // With an odd number of cache lines from one row to the next, the rows of a piece are in different sets of L1.
  const stride = rows > 1 ? (Math.ceil(columnBytes / 64) | 1) * 64 : columnBytes;
  const blocks = isTransposed ? Math.min(groups, 12, Math.max(1, Math.floor(49152 / lineBytes))) : groups;
  const weights = product.packed && parts.packedRows(context, product, product.packed, block);
  const decodedGroups = Math.min(groups, weights?.isPairs ? 24 : 12), decodedStride = (pieceRows + 32) * 4;
  const pieceBytes = isTransposed ? (pieceRows + 8) * (weights ? decodedGroups : blocks) * 8 * size : 0;
  const bytesOfB = weights
    ? decodedGroups * 8 * decodedStride
    : isTransposed
    ? blocks * 8 * lineBytes
    : pieceRows * stride;
  const memory = context.allocate({
    packedA: rows * paddedDepth * 4, // first, so that it keeps its place
    a: rows * paddedDepth * aSize,
    b: Math.max(bytesOfB, columnBytes) + 64,
    piece: pieceBytes,
    sums: groups * panelStride,
    c: groups * panelStride,
    bias: groups * 32,
    out: rows * groups * groupColumns * outSize,
    ...weights?.areas(decodedGroups * groupColumns) ?? { values: 0, scales: 0, zeros: 0, raw: 0 },
  });

  const key = `few ${row} ${rows}`;
  if (packed.product !== product || packed.key !== key) {
    Object.assign(packed, { product, key });
    operand.stageRows(memory.a, 0, rows, paddedDepth * aSize);
    kernels.packFew(aDType, memory.a, paddedDepth * aSize, paddedDepth, rows, memory.packedA);
  }

  /** Multiplies all rows by some groups of B. `prepare` writes some rows of B to the piece. */
  const multiply = (first: number, groups: number, piece: Piece, prepare: (k: number, count: number) => void) => {
    const at = first * panelStride;
    for (let start = 0; start < depth; start += passDepth) {
      const end = Math.min(depth, start + passDepth);
      for (let k = start; k < end; k += pieceRows) {
        const count = Math.min(pieceRows, end - k);
        prepare(k, count);
        kernels.multiplyFew(
          piece.dtype,
          piece.pairs,
          rows,
          groups,
          paddedDepth,
          memory.packedA,
          k,
          count,
          piece.at,
          piece.stride,
          memory.sums + at,
          memory.c + at,
          k === start,
          k + count === end,
          start > 0,
        );
      }
    }
  };

  const multiplyColumns = () => {
    const piece = { dtype, pairs: true, at: memory.b, stride };
    multiply(0, groups, piece, (k, count) => operand.stageColumns(memory.b, k, count, stride));
  };

  const multiplyTransposed = () => {
    for (let first = 0; first < groups; first += blocks) {
      const count = Math.min(blocks, groups - first);
      const lines = count * groupColumns, result = first * groupColumns;
      operand.stageLines(memory.b, result, Math.min(lines, columns - result), lines);
      const stride = (pairs ? 2 : 1) * lineBytes;
      const high = (pairs ? 1 : isSplit ? lines : 4) * lineBytes;
      const step = (isSplit ? 4 : 8) * lineBytes;
      const piece = { dtype, pairs: size === 2, at: memory.piece, stride: count * 8 * size };
      multiply(first, count, piece, (k, rows) => {
        kernels.transpose(dtype, memory.b + k * size, stride, high, step, rows, count, memory.piece);
      });
    }
  };

  const multiplyPacked = ({ stage, decode }: NonNullable<typeof weights>) => {
    for (let first = 0; first < groups; first += decodedGroups) {
      const count = Math.min(decodedGroups, groups - first);
      const lines = count * groupColumns, result = first * groupColumns, real = Math.min(lines, columns - result);
      const high = (product.isGated ? lines : 4) * decodedStride, step = groupColumns * decodedStride;
      const piece = { dtype, pairs: false, at: memory.piece, stride: count * 32 };
      stage(memory, result, real);
      multiply(first, count, piece, (k, rows) => {
        const from = decode(result, real, lines, k, rows, memory.b, decodedStride);
        kernels.transpose(dtype, from, decodedStride, high, step, rows, count, memory.piece);
      });
    }
  };

  /** Multiplies all rows by pairs, which the kernel decodes. */
  const multiplyPairs = (
    { stage, groupsAt }: NonNullable<typeof weights>,
    { dtype, kind, scaleType, group }: PackedWeights,
  ) => {
    for (let first = 0; first < groups; first += decodedGroups) {
      const count = Math.min(decodedGroups, groups - first), result = first * groupColumns;
      stage(memory, result, Math.min(count * groupColumns, columns - result));
      const at = first * panelStride, pairs = groupsAt(result);
      for (let k = 0; k < depth; k += passDepth) {
        const pass = Math.min(passDepth, depth - k);
        kernels.multiplyFewPairs(
          dtype,
          kind,
          rows,
          count,
          paddedDepth,
          memory.packedA,
          k,
          pass,
          ...pairs,
          scaleType,
          group,
          memory.sums + at,
          memory.c + at,
          true,
          true,
          k > 0,
        );
      }
    }
  };

  if (depth === 0) context.f32.fill(0, memory.c / 4, (memory.c + groups * panelStride) / 4);
  if (weights?.isPairs) multiplyPairs(weights, product.packed!);
  else if (weights) multiplyPacked(weights);
  else if (isTransposed) multiplyTransposed();
  else multiplyColumns();
  const isOrdered = pairs || isTransposed;
  if (!isOrdered) kernels.orderFew(isSplit, rows, groups, memory.c, memory.sums);

  operand.widenBias(memory.b, memory.bias);
  const at = isOrdered ? memory.c : memory.sums;
  operand.finish({ at, rowStep: 32, groupStep: panelStride, high: 16 }, 0, rows, memory.bias, memory.out);
}
