import type { Context } from "../context.ts";
import type { ExpertsJob } from "./experts.ts";
import type { Block } from "./operands.ts";
import type { Parts } from "./parts.ts";

/**
 * A block's product by a library: A, B and the sums are f32 matrices in this worker's memory. The rows of A are widened once for
 * all blocks that follow with the same ones: `packed` says whose lie in the memory. With a gate, the sums of all gates come
 * first in a row, then those of all ups.
 */
export function blasProduct(
  context: Context,
  job: ExpertsJob,
  block: Block,
  packed: { rows: string },
  { operands }: Parts,
): void {
  const { kernels } = context;
  const { dtype } = job;
  const { isGateUp, row, rows } = block;
  const operand = operands(context, job, block);
  const { depth, size, gated, pairs, groups, groupColumns, groupStep, groupHigh, columnBytes } = operand;
  const sgemm = context.sgemm(job.blas!);
  const depthGroups = Math.ceil(depth / 8);
  const depthStride = depthGroups * 8;
  const sums = groups * 8;
  const stagedRows = 32, finishedRows = 32;
  const memory = context.allocate({
    a: rows * depthStride * 4, // the first area: it is to stay where it is
    staged: stagedRows * Math.max(depthStride * size, columnBytes),
    b: job.outIn ? sums * depthStride * 4 : depth * sums * 4,
    c: rows * sums * 4,
    bias: sums * 4,
    out: finishedRows * groups * groupColumns * size,
  });
  const widenDepth = (count: number, to: number) => {
    const stride = depthStride * size;
    kernels.widen(
      dtype,
      false,
      memory.staged,
      stride,
      count,
      depthGroups,
      8 * size,
      4 * size,
      to,
      depthStride * 4,
      32,
      16,
    );
  };

  const key = `blas ${isGateUp} ${row} ${rows}`;
  if (packed.rows !== key) {
    packed.rows = key;
    for (let r = 0; r < rows; r += stagedRows) {
      const count = Math.min(stagedRows, rows - r);
      operand.stageRows(memory.staged, r, count, depthStride * size);
      widenDepth(count, memory.a + r * depthStride * 4);
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
  if (job.outIn) {
    const half = groups * groupColumns;
    for (let line = 0; line < sums; line += stagedRows) {
      const count = Math.min(stagedRows, sums - line);
      for (let i = 0; i < count; i++) {
        const isUp = line + i >= half;
        const result = line + i - (isUp ? half : 0);
        if (result >= block.columns) continue;
        operand.stageWeights(memory.staged + i * depthStride * size, result, isUp, 0, depth);
      }
      widenDepth(count, memory.b + line * depthStride * 4);
    }
  } else {
    for (let k = 0; k < depth; k += stagedRows) {
      const count = Math.min(stagedRows, depth - k);
      operand.stageColumns(memory.staged, k, count);
      widenColumns(count, memory.b + k * sums * 4, sumStep, sumHigh);
    }
  }

  const { f32 } = context;
  const a = f32.subarray(memory.a / 4), b = f32.subarray(memory.b / 4), c = f32.subarray(memory.c / 4);
  sgemm(job.outIn, rows, sums, depth, a, depthStride, b, job.outIn ? depthStride : sums, c, sums);

  operand.stageBias(memory.staged);
  widenColumns(1, memory.bias, 32, 16);
  const where = { at: memory.c, rowStep: sums * 4, groupStep: sumStep, high: sumHigh };
  for (let r = 0; r < rows; r += finishedRows) {
    operand.finish(where, r, Math.min(finishedRows, rows - r), memory.bias, memory.out);
  }
}
