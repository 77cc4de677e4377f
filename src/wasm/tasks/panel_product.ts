import type { Context } from "../context.ts";
import type { ExpertsJob } from "./experts.ts";
import type { Block } from "./operands.ts";
import type { Parts } from "./parts.ts";

/** Sizes of what is packed at a time. */
export interface Blocking {
  /** The most depth of one pass: a panel of B, 32 bytes each, stays in L1. It settles the order of the sums. */
  readonly depth: number;
  /** Tiles of A, 24 bytes times the depth each, that stay in L2 while the panels of B go by. */
  readonly rowTiles: number;
}

/**
 * A block's product by the kernels. Its rows of A are packed once for all blocks that follow with the same ones: `packed` says
 * whose lie in the memory.
 */
export function panelProduct(
  context: Context,
  job: ExpertsJob,
  block: Block,
  packed: { rows: string },
  { operands }: Parts,
): void {
  const { kernels } = context;
  const { dtype, blocking } = job;
  const { isGateUp, row, rows } = block;
  const operand = operands(context, job, block);
  const { depth, aSize, size, outSize, pairs, groups, groupColumns, groupStep, groupHigh, columnBytes } = operand;
  const rowTiles = Math.ceil(rows / 6);
  const paddedDepth = Math.ceil(depth / 4) * 4;
  const passes = Math.max(1, Math.ceil(paddedDepth / blocking.depth));
  const passDepth = Math.ceil(paddedDepth / passes / 4) * 4;
  const passTiles = Math.min(blocking.rowTiles, rowTiles);
  const panelStride = rowTiles * 192;
  const stagedRows = 32, finishedRows = 96;
  const memory = context.allocate({
    packedA: rowTiles * paddedDepth * 24, // the first area: it is to stay where it is
    a: passTiles * 6 * paddedDepth * aSize,
    b: Math.max(stagedRows * columnBytes, 8 * passDepth * size) + 64,
    packedB: groups * passDepth * 32,
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

  const widen = (from: number, rows: number, to: number, panelBytes: number) =>
    kernels.widen(dtype, pairs, from, columnBytes, rows, groups, groupStep, groupHigh, to, 32, panelBytes, 16);

  /** One pass's rows of B as they are, widened into panels. */
  const packColumns = (k: number, pass: number) => {
    const real = Math.min(pass, depth - k);
    for (let i = 0; i < real; i += stagedRows) {
      const count = Math.min(stagedRows, real - i);
      operand.stageColumns(memory.b, k + i, count);
      widen(memory.b, count, memory.packedB + i * 32, pass * 32);
    }
    for (let panel = 0; real < pass && panel < groups; panel++) {
      context.f32.fill(0, memory.packedB / 4 + (panel * pass + real) * 8, memory.packedB / 4 + (panel + 1) * pass * 8);
    }
  };

  /** The same of B turned round: eight of its rows are a panel. */
  const turnRows = (k: number, pass: number) => {
    const real = Math.min(pass, depth - k);
    const stride = pass * size;
    if (real < pass) clear(memory.b, 8 * stride);
    for (let panel = 0; panel < groups; panel++) {
      for (let r = 0; r < 8; r++) {
        const result = panel * groupColumns + r % groupColumns;
        if (result < block.columns) {
          operand.stageWeights(memory.b + r * stride, result, r >= groupColumns, k, real);
        }
      }
      kernels.packEight(dtype, memory.b, stride, pass, 1, memory.packedB + panel * pass * 32);
    }
  };

  if (depth === 0) clear(memory.c, groups * panelStride);
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

  operand.stageBias(memory.b);
  widen(memory.b, 1, memory.bias, 32);
  const sums = { at: memory.c, rowStep: 32, groupStep: panelStride, high: 16 };
  for (let r = 0; r < rows; r += finishedRows) {
    operand.finish(sums, r, Math.min(finishedRows, rows - r), memory.bias, memory.out);
  }
}
