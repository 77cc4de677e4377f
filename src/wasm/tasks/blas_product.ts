import type { Context } from "../context.ts";
import type { ExpertsJob } from "./experts_job.ts";
import type { Block, operands } from "./operands.ts";

/**
 * A block's product by a library: A, B and the sums are f32 matrices in this worker's memory. The rows of A are widened once for
 * all blocks that follow with the same ones: `packed` says whose lie in the memory. B is widened for a part of the depth at a
 * time, about as long as those that libraries pack, so that it is still in a cache. With a gate, the sums of all gates come first
 * in a row, then those of all ups.
 */
export function blasProduct(
  context: Context,
  job: ExpertsJob,
  block: Block,
  packed: { rows: string },
  parts: { readonly operands: typeof operands },
): void {
  const { kernels } = context;
  const { dtype } = job;
  const { isGateUp, row, rows } = block;
  const operand = parts.operands(context, job, block);
  const { depth, size, gated, pairs, groups, groupColumns, groupStep, groupHigh, columnBytes } = operand;
  const sgemm = context.sgemm(job.blas!);
  const depthStride = Math.ceil(depth / 8) * 8;
  const sums = groups * 8;
  const stagedRows = 32, finishedRows = 32;
  const passes = Math.max(1, Math.ceil(depth / job.blocking.depth));
  const passDepth = Math.ceil(depth / passes / 8) * 8;
  const memory = context.allocate({
    a: rows * depthStride * 4, // the first area: it is to stay where it is
    staged: stagedRows * Math.max(depthStride * size, columnBytes),
    b: passDepth * sums * 4,
    c: rows * sums * 4,
    bias: sums * 4,
    out: finishedRows * groups * groupColumns * size,
  });
  /** Rows of staged elements, `length` from one to the next as they are and as f32; a multiple of 8. */
  const widenDepth = (count: number, length: number, to: number) =>
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

  const key = `blas ${isGateUp} ${row} ${rows}`;
  if (packed.rows !== key) {
    packed.rows = key;
    for (let r = 0; r < rows; r += stagedRows) {
      const count = Math.min(stagedRows, rows - r);
      operand.stageRows(memory.staged, r, count, depthStride * size);
      widenDepth(count, depthStride, memory.a + r * depthStride * 4);
    }
  }

  // Where a group's sums lie in a row.
  const sumStep = groupColumns * 4;
  const sumHigh = gated ? groups * 16 : 16;
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
  /** Rows of B as they are. */
  const widenRows = (start: number, depth: number) => {
    for (let k = 0; k < depth; k += stagedRows) {
      const count = Math.min(stagedRows, depth - k);
      operand.stageColumns(memory.staged, start + k, count);
      widenColumns(count, memory.b + k * sums * 4, sumStep, sumHigh);
    }
  };
  /** Parts of the rows of B turned round. */
  const widenTurned = (start: number, depth: number) => {
    const half = groups * groupColumns;
    for (let line = 0; line < sums; line += stagedRows) {
      const count = Math.min(stagedRows, sums - line);
      for (let i = 0; i < count; i++) {
        const isUp = line + i >= half;
        const result = line + i - (isUp ? half : 0);
        if (result >= block.columns) continue;
        operand.stageWeights(memory.staged + i * passDepth * size, result, isUp, start, depth);
      }
      widenDepth(count, passDepth, memory.b + line * passDepth * 4);
    }
  };

  const { f32 } = context;
  const b = f32.subarray(memory.b / 4), c = f32.subarray(memory.c / 4);
  if (depth === 0) c.fill(0, 0, rows * sums);
  for (let k = 0; k < depth; k += passDepth) {
    const pass = Math.min(passDepth, depth - k);
    if (job.outIn) widenTurned(k, pass);
    else widenRows(k, pass);
    const a = f32.subarray(memory.a / 4 + k);
    sgemm(job.outIn, rows, sums, pass, a, depthStride, b, job.outIn ? passDepth : sums, c, sums, k > 0);
  }

  operand.stageBias(memory.staged);
  widenColumns(1, memory.bias, 32, 16);
  const where = { at: memory.c, rowStep: sums * 4, groupStep: sumStep, high: sumHigh };
  for (let r = 0; r < rows; r += finishedRows) {
    operand.finish(where, r, Math.min(finishedRows, rows - r), memory.bias, memory.out);
  }
}
