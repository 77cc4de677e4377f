import type { Context } from "../context.ts";
import type { operands } from "./operands.ts";
import type { packedRows } from "./packed_rows.ts";
import type { Block, PackedRows, Product } from "./product.ts";

/**
 * Computes a block with a library: A, B and the sums are f32 matrices in this worker's memory. Consecutive blocks with the
 * same rows of A widen these rows once. B is widened for part of the depth at a time, about as much as libraries pack, so
 * that it is still in a cache. With a gate, a row has the sums of all gates first, then the sums of all ups.
 */
export function blasProduct(
  context: Context,
  product: Product,
  block: Block,
  packed: PackedRows,
  parts: { readonly operands: typeof operands; readonly packedRows: typeof packedRows },
): void {
  const { kernels } = context;
  const { depth, isGated, isTransposed, blocking, dtypes: { a: aDType, b: dtype } } = product;
  const { row, rows } = block;
  const operand = parts.operands(context, product, block);
  const { aSize, size, outSize, pairs, groups, groupColumns, groupStep, groupHigh, columnBytes } = operand;
  const sgemm = context.sgemm(product.blas!);
  const depthStride = Math.ceil(depth / 8) * 8;
  const sums = groups * 8;
  const lineBytes = Math.max(depthStride * Math.max(aSize, size), columnBytes);
  const stagedRows = Math.max(1, Math.min(32, Math.floor(2 ** 28 / lineBytes)));
  const finishedRows = 32;
  const passes = Math.max(1, Math.ceil(depth / blocking.depth));
  const passDepth = Math.ceil(depth / passes / 8) * 8;
  const weights = product.packed && parts.packedRows(context, product, product.packed, block);
  const bStride = weights ? passDepth + 32 : isTransposed ? passDepth : sums;
  const memory = context.allocate({
    a: rows * depthStride * 4, // first, so that it keeps its place
    staged: stagedRows * lineBytes,
    b: (weights ? bStride : passDepth) * sums * 4,
    c: rows * sums * 4,
    bias: sums * 4,
    out: finishedRows * groups * groupColumns * outSize,
    ...weights?.areas(block.columns) ?? { values: 0, scales: 0, zeros: 0, raw: 0 },
  });
  /** Widens staged rows of `length` elements, a multiple of 8. */
  const widenDepth = (dtype: number, size: number, count: number, length: number, to: number) =>
    kernels.widen(
      dtype,
      false,
      memory.staged,
      length * size,
      count,
      length / 8,
      8 * size,
      4 * size,
      to,
      length * 4,
      32,
      16,
    );

  const key = `blas ${row} ${rows}`;
  if (packed.product !== product || packed.key !== key) {
    Object.assign(packed, { product, key });
    for (let r = 0; r < rows; r += stagedRows) {
      const count = Math.min(stagedRows, rows - r);
      operand.stageRows(memory.staged, r, count, depthStride * aSize);
      widenDepth(aDType, aSize, count, depthStride, memory.a + r * depthStride * 4);
    }
  }

  // The layout of a group's sums in a row.
  const sumStep = groupColumns * 4;
  const sumHigh = isGated ? groups * 16 : 16;
  const widenColumns = (rows: number, to: number, step: number, high: number) =>
    kernels.widen(
      dtype,
      pairs,
      memory.staged,
      columnBytes,
      rows,
      groups,
      groupStep,
      groupHigh,
      to,
      sums * 4,
      step,
      high,
    );
  /** Widens rows of B. */
  const widenRows = (start: number, depth: number) => {
    for (let k = 0; k < depth; k += stagedRows) {
      const count = Math.min(stagedRows, depth - k);
      operand.stageColumns(memory.staged, start + k, count);
      widenColumns(count, memory.b + k * sums * 4, sumStep, sumHigh);
    }
  };
  /** Widens parts of the rows of transposed B. */
  const widenTransposed = (start: number, depth: number) => {
    const half = groups * groupColumns;
    for (let line = 0; line < sums; line += stagedRows) {
      const count = Math.min(stagedRows, sums - line);
      for (let i = 0; i < count; i++) {
        const isUp = line + i >= half;
        const result = line + i - (isUp ? half : 0);
        if (result >= block.columns) continue;
        operand.stageWeights(memory.staged + i * passDepth * size, result, isUp, start, depth);
      }
      widenDepth(dtype, size, count, passDepth, memory.b + line * passDepth * 4);
    }
  };

  const { f32 } = context;
  const c = f32.subarray(memory.c / 4);
  weights?.stage(memory, 0, block.columns);
  if (depth === 0) c.fill(0, 0, rows * sums);
  for (let k = 0; k < depth; k += passDepth) {
    const pass = Math.min(passDepth, depth - k);
    let from = memory.b;
    if (weights) from = weights.decode(0, block.columns, groups * groupColumns, k, pass, memory.b, bStride * 4);
    else if (isTransposed) widenTransposed(k, pass);
    else widenRows(k, pass);
    const a = f32.subarray(memory.a / 4 + k), b = f32.subarray(from / 4);
    sgemm(isTransposed, rows, sums, pass, a, depthStride, b, bStride, c, sums, k > 0);
  }

  operand.widenBias(memory.staged, memory.bias);
  const where = { at: memory.c, rowStep: sums * 4, groupStep: sumStep, high: sumHigh };
  for (let r = 0; r < rows; r += finishedRows) {
    operand.finish(where, r, Math.min(finishedRows, rows - r), memory.bias, memory.out);
  }
}
