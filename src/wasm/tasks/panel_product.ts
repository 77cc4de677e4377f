import type { Context } from "../context.ts";
import type { ExpertsJob } from "./experts_job.ts";
import type { Block, operands } from "./operands.ts";

/**
 * A block's product by the kernels. Its rows of A are packed once for all blocks that follow with the same ones: `packed` says
 * whose lie in the memory.
 */
export function panelProduct(
  context: Context,
  job: ExpertsJob,
  block: Block,
  packed: { rows: string },
  parts: { readonly operands: typeof operands },
): void {
  const { kernels } = context;
  const { dtype, blocking } = job;
  const { isGateUp, row, rows } = block;
  const operand = parts.operands(context, job, block);
  const { depth, aSize, size, outSize, pairs, groups, groupColumns, groupStep, groupHigh, columnBytes } = operand;
  const rowTiles = Math.ceil(rows / 6);
  const paddedDepth = Math.ceil(depth / 4) * 4;
  const passes = Math.max(1, Math.ceil(paddedDepth / blocking.depth));
  const passDepth = Math.ceil(paddedDepth / passes / 4) * 4;
  const passTiles = Math.min(blocking.rowTiles, rowTiles);
  const panelStride = rowTiles * 192;
  const isFew = rows < blocking.fewRows;
  const stagedRows = isFew ? 16 : 32, finishedRows = 96;
  const bytesOfB = job.outIn ? 8 * (isFew ? paddedDepth : passDepth) * size : stagedRows * columnBytes;
  const bytesOfPackedB = !isFew ? groups * passDepth * 32 : job.outIn ? passDepth * 32 : groups * panelStride;
  const memory = context.allocate({
    packedA: rowTiles * paddedDepth * 24, // the first area: it is to stay where it is
    a: passTiles * 6 * paddedDepth * aSize,
    b: Math.max(bytesOfB, columnBytes) + 64,
    packedB: bytesOfPackedB,
    wideB: isFew && !job.outIn ? stagedRows * groups * 32 : 0,
    c: groups * panelStride,
    bias: groups * 32,
    out: finishedRows * groups * groupColumns * outSize,
  });
  // Where the tiles of A for one pass over the depth begin: pass after pass, tile after tile.
  const tilesAt = (k: number, tile: number, pass: number) => memory.packedA + (k * rowTiles + tile * pass) * 24;
  const clear = (from: number, bytes: number) => context.u16.fill(0, from / 2, (from + bytes) / 2);

  const key = `panels ${isGateUp} ${row} ${rows}`;
  if (packed.rows !== key) {
    packed.rows = key;
    const stride = paddedDepth * aSize;
    for (let tile = 0; tile < rowTiles; tile += passTiles) {
      const tiles = Math.min(passTiles, rowTiles - tile);
      const count = Math.min(rows - tile * 6, tiles * 6);
      if (count % 6 || depth % 4) clear(memory.a, tiles * 6 * stride);
      operand.stageRows(memory.a, tile * 6, count, stride);
      for (let k = 0; k < paddedDepth; k += passDepth) {
        const pass = Math.min(passDepth, paddedDepth - k);
        kernels.packSix(job.inputDtype, memory.a + k * aSize, stride, pass, tiles, tilesAt(k, tile, pass));
      }
    }
  }

  const widen = (from: number, rows: number, to: number, rowStep: number, groupBytes: number) =>
    kernels.widen(dtype, pairs, from, columnBytes, rows, groups, groupStep, groupHigh, to, rowStep, groupBytes, 16);

  /** One pass's rows of B as they are, widened into panels. */
  const packColumns = (k: number, pass: number) => {
    const real = Math.min(pass, depth - k);
    for (let i = 0; i < real; i += stagedRows) {
      const count = Math.min(stagedRows, real - i);
      operand.stageColumns(memory.b, k + i, count);
      widen(memory.b, count, memory.packedB + i * 32, 32, pass * 32);
    }
    for (let panel = 0; real < pass && panel < groups; panel++) {
      context.f32.fill(0, memory.packedB / 4 + (panel * pass + real) * 8, memory.packedB / 4 + (panel + 1) * pass * 8);
    }
  };

  /** Of B turned round, part of the eight rows that are a panel. */
  const stagePanel = (panel: number, k: number, real: number, stride: number) => {
    if (real * size < stride) clear(memory.b, 8 * stride);
    for (let r = 0; r < 8; r++) {
      const result = panel * groupColumns + r % groupColumns;
      if (result < block.columns) operand.stageWeights(memory.b + r * stride, result, r >= groupColumns, k, real);
    }
  };

  /** One pass's part of B turned round into panels. */
  const turnRows = (k: number, pass: number) => {
    for (let panel = 0; panel < groups; panel++) {
      stagePanel(panel, k, Math.min(pass, depth - k), pass * size);
      kernels.packEight(dtype, memory.b, pass * size, pass, 1, memory.packedB + panel * pass * 32);
    }
  };

  const multiplyPanels = () => {
    const pack = job.outIn ? turnRows : packColumns;
    for (let k = 0; k < paddedDepth; k += passDepth) {
      const pass = Math.min(passDepth, paddedDepth - k);
      pack(k, pass);
      for (let tile = 0; tile < rowTiles; tile += passTiles) {
        const tiles = Math.min(passTiles, rowTiles - tile);
        const c = memory.c + tile * 192;
        kernels.multiply(tiles, groups, pass, tilesAt(k, tile, pass), memory.packedB, c, panelStride, k > 0);
      }
    }
  };

  /** Few rows: B is multiplied as it is staged, and widened before if that is not to be done more than once. */
  const multiplyColumns = () => {
    const isWide = rows > 4;
    const from = isWide
      ? { dtype: 2, pairs: false, at: memory.wideB, stride: groups * 32, step: 32, high: 16 }
      : { dtype, pairs, at: memory.b, stride: columnBytes, step: groupStep, high: groupHigh };
    for (let k = 0; k < depth; k += passDepth) {
      const pass = Math.min(passDepth, paddedDepth - k);
      const real = Math.min(pass, depth - k);
      for (let i = 0; i < real; i += stagedRows) {
        const count = Math.min(stagedRows, real - i);
        operand.stageColumns(memory.b, k + i, count);
        if (isWide) widen(memory.b, count, memory.wideB, groups * 32, 32);
        kernels.multiplyFew(
          from.dtype,
          from.pairs,
          rows,
          groups,
          count,
          tilesAt(k, 0, pass) + i * 24,
          pass * 24,
          from.at,
          from.stride,
          from.step,
          from.high,
          memory.packedB,
          memory.c,
          panelStride,
          i === 0,
          i + count === real,
          k > 0,
        );
      }
    }
  };

  /** Few rows of A: a panel of B turned round is multiplied while it is in the first cache, and its rows are read in order. */
  const multiplyTurned = () => {
    const stride = paddedDepth * size;
    for (let panel = 0; panel < groups; panel++) {
      stagePanel(panel, 0, depth, stride);
      for (let k = 0; k < paddedDepth; k += passDepth) {
        const pass = Math.min(passDepth, paddedDepth - k);
        const c = memory.c + panel * panelStride;
        kernels.packEight(dtype, memory.b + k * size, stride, pass, 1, memory.packedB);
        kernels.multiply(rowTiles, 1, pass, tilesAt(k, 0, pass), memory.packedB, c, panelStride, k > 0);
      }
    }
  };

  if (depth === 0) clear(memory.c, groups * panelStride);
  if (!isFew) multiplyPanels();
  else if (job.outIn) multiplyTurned();
  else multiplyColumns();

  operand.stageBias(memory.b);
  widen(memory.b, 1, memory.bias, 32, 32);
  const sums = { at: memory.c, rowStep: 32, groupStep: panelStride, high: 16 };
  for (let r = 0; r < rows; r += finishedRows) {
    operand.finish(sums, r, Math.min(finishedRows, rows - r), memory.bias, memory.out);
  }
}
