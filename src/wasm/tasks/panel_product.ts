import type { Context } from "../context.ts";
import type { operands } from "./operands.ts";
import type { packedRows } from "./packed_rows.ts";
import type { Block, PackedRows, Product } from "./product.ts";

/** Computes a block with the kernels. Consecutive blocks with the same rows of A pack these rows once. */
export function panelProduct(
  context: Context,
  product: Product,
  block: Block,
  packed: PackedRows,
  parts: { readonly operands: typeof operands; readonly packedRows: typeof packedRows },
): void {
  const { kernels } = context;
  const { depth, blocking, isTransposed, dtypes: { a: aDType, b: dtype } } = product;
  const { row, rows } = block;
  const operand = parts.operands(context, product, block);
  const { aSize, size, outSize, pairs, groups, groupColumns, groupStep, groupHigh, columnBytes } = operand;
  const rowTiles = Math.ceil(rows / 6);
  const paddedDepth = Math.ceil(depth / 4) * 4;
  const passes = Math.max(1, Math.ceil(paddedDepth / blocking.depth));
  const passDepth = Math.ceil(paddedDepth / passes / 4) * 4;
  const passTiles = Math.min(blocking.rowTiles, rowTiles);
  const panelStride = rowTiles * 192;
  const stagedRows = 32, finishedRows = 96;
  const weights = product.packed && parts.packedRows(context, product, product.packed, block);
  const decodedStride = (passDepth + 32) * 4;
  const bytesOfB = weights ? 8 * decodedStride : isTransposed ? 8 * passDepth * size : stagedRows * columnBytes;
  const memory = context.allocate({
    packedA: rowTiles * paddedDepth * 24, // first, so that it keeps its place
    a: passTiles * 6 * paddedDepth * aSize,
    b: Math.max(bytesOfB, columnBytes) + 64,
    packedB: groups * passDepth * 32,
    c: groups * panelStride,
    bias: groups * 32,
    out: finishedRows * groups * groupColumns * outSize,
    ...weights?.areas(block.columns) ?? { values: 0, scales: 0, zeros: 0, raw: 0 },
  });
  // The address of tiles of A: they are ordered by pass over the depth, then by tile.
  const tilesAt = (k: number, tile: number, pass: number) => memory.packedA + (k * rowTiles + tile * pass) * 24;
  const clear = (from: number, bytes: number) => context.u16.fill(0, from / 2, (from + bytes) / 2);

  const key = `panels ${row} ${rows}`;
  if (packed.product !== product || packed.key !== key) {
    Object.assign(packed, { product, key });
    const stride = paddedDepth * aSize;
    for (let tile = 0; tile < rowTiles; tile += passTiles) {
      const tiles = Math.min(passTiles, rowTiles - tile);
      const count = Math.min(rows - tile * 6, tiles * 6);
      if (count % 6 || depth % 4) clear(memory.a, tiles * 6 * stride);
      operand.stageRows(memory.a, tile * 6, count, stride);
      for (let k = 0; k < paddedDepth; k += passDepth) {
        const pass = Math.min(passDepth, paddedDepth - k);
        kernels.packSix(aDType, memory.a + k * aSize, stride, pass, tiles, tilesAt(k, tile, pass));
      }
    }
  }

  const widen = (from: number, rows: number, to: number, rowStep: number, groupBytes: number) =>
    kernels.widen(dtype, pairs, from, columnBytes, rows, groups, groupStep, groupHigh, to, rowStep, groupBytes, 16);

  /** Widens the rows of B of one pass into panels. */
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

  /** Stages part of the eight rows of transposed B that make a panel. */
  const stagePanel = (panel: number, k: number, real: number, stride: number) => {
    if (real * size < stride) clear(memory.b, 8 * stride);
    for (let r = 0; r < 8; r++) {
      const result = panel * groupColumns + r % groupColumns;
      if (result < block.columns) operand.stageWeights(memory.b + r * stride, result, r >= groupColumns, k, real);
    }
  };

  /** Transposes the part of B of one pass into panels. */
  const transposeRows = (k: number, pass: number) => {
    for (let panel = 0; panel < groups; panel++) {
      stagePanel(panel, k, Math.min(pass, depth - k), pass * size);
      kernels.packEight(dtype, memory.b, pass * size, pass, 1, memory.packedB + panel * pass * 32);
    }
  };

  /** Decodes and transposes the part of packed B of one pass into panels. */
  const decodeRows = ({ decode, groupsAt, isPairs }: NonNullable<typeof weights>, k: number, pass: number) => {
    if (isPairs) {
      const { dtype, kind, group } = product.packed!;
      kernels.decodeEights(dtype, kind, groups, ...groupsAt(0), k, pass, group, memory.packedB, pass * 32);
      return;
    }
    for (let panel = 0; panel < groups; panel++) {
      const first = panel * groupColumns, count = Math.min(groupColumns, block.columns - first);
      const from = decode(first, count, groupColumns, k, pass, memory.b, decodedStride);
      kernels.packEight(dtype, from, decodedStride, pass, 1, memory.packedB + panel * pass * 32);
    }
  };

  const multiplyPanels = () => {
    for (let k = 0; k < paddedDepth; k += passDepth) {
      const pass = Math.min(passDepth, paddedDepth - k);
      if (weights) decodeRows(weights, k, pass);
      else if (isTransposed) transposeRows(k, pass);
      else packColumns(k, pass);
      for (let tile = 0; tile < rowTiles; tile += passTiles) {
        const tiles = Math.min(passTiles, rowTiles - tile);
        const c = memory.c + tile * 192;
        kernels.multiply(tiles, groups, pass, tilesAt(k, tile, pass), memory.packedB, c, panelStride, k > 0);
      }
    }
  };

  if (depth === 0) clear(memory.c, groups * panelStride);
  weights?.stage(memory, 0, block.columns);
  multiplyPanels();

  operand.widenBias(memory.b, memory.bias);
  const sums = { at: memory.c, rowStep: 32, groupStep: panelStride, high: 16 };
  for (let r = 0; r < rows; r += finishedRows) {
    operand.finish(sums, r, Math.min(finishedRows, rows - r), memory.bias, memory.out);
  }
}
