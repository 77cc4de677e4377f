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
  const isFew = rows < blocking.fewRows;
  const stagedRows = isFew ? 16 : 32, finishedRows = 96;
  const bytesOfB = isTransposed ? 8 * (isFew ? paddedDepth : passDepth) * size : stagedRows * columnBytes;
  const weights = product.packed && parts.packedRows(context, product, product.packed, block);
  const areas = weights?.areas(isFew ? groupColumns : groups * groupColumns);
  const decodedStride = (passDepth + 32) * 4;
  const bytesOfPackedB = !isFew ? groups * passDepth * 32 : isTransposed ? passDepth * 32 : groups * panelStride;
  const memory = context.allocate({
    packedA: rowTiles * paddedDepth * 24, // first, so that it keeps its place
    a: passTiles * 6 * paddedDepth * aSize,
    b: Math.max(weights ? 8 * decodedStride : bytesOfB, columnBytes) + 64,
    packedB: bytesOfPackedB,
    wideB: isFew && !isTransposed ? stagedRows * groups * 32 : 0,
    c: groups * panelStride,
    bias: groups * 32,
    out: finishedRows * groups * groupColumns * outSize,
    values: areas?.values ?? 0,
    scales: areas?.scales ?? 0,
    zeros: areas?.zeros ?? 0,
    raw: areas?.raw ?? 0,
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

  /** Decodes the part of eight packed rows of B that makes a panel. Decodes whole units, of which the panel has a part. */
  const decodePanel = (
    { unit, decode }: NonNullable<typeof weights>,
    panel: number,
    k: number,
    pass: number,
    to: number,
  ) => {
    const start = k - k % unit, end = Math.min(depth, Math.ceil((k + pass) / unit) * unit);
    const first = panel * groupColumns, count = Math.min(groupColumns, block.columns - first);
    if (k + pass > end) clear(memory.b, 8 * decodedStride);
    decode(false, first, count, start, end - start, memory.b, decodedStride);
    if (product.isGated) decode(true, first, count, start, end - start, memory.b + 4 * decodedStride, decodedStride);
    kernels.packEight(dtype, memory.b + (k - start) * 4, decodedStride, pass, 1, to);
  };

  /** Transposes the part of B of one pass into panels. */
  const transposeRows = (k: number, pass: number) => {
    for (let panel = 0; panel < groups; panel++) {
      const to = memory.packedB + panel * pass * 32;
      if (weights) {
        decodePanel(weights, panel, k, pass, to);
        continue;
      }
      stagePanel(panel, k, Math.min(pass, depth - k), pass * size);
      kernels.packEight(dtype, memory.b, pass * size, pass, 1, to);
    }
  };

  const multiplyPanels = () => {
    const pack = isTransposed ? transposeRows : packColumns;
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

  /** Few rows: multiplies B as it is staged. With more than four rows, it is widened first, so that each weight is widened once. */
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

  /** Few rows and transposed B: multiplies a panel while it is in the first cache. The rows of B are read in order. */
  const multiplyTransposed = () => {
    const stride = paddedDepth * size;
    for (let panel = 0; panel < groups; panel++) {
      if (weights) {
        weights.stage(memory, panel * groupColumns, Math.min(groupColumns, block.columns - panel * groupColumns));
      } else stagePanel(panel, 0, depth, stride);
      for (let k = 0; k < paddedDepth; k += passDepth) {
        const pass = Math.min(passDepth, paddedDepth - k);
        const c = memory.c + panel * panelStride;
        if (weights) decodePanel(weights, panel, k, pass, memory.packedB);
        else kernels.packEight(dtype, memory.b + k * size, stride, pass, 1, memory.packedB);
        kernels.multiply(rowTiles, 1, pass, tilesAt(k, 0, pass), memory.packedB, c, panelStride, k > 0);
      }
    }
  };

  if (depth === 0) clear(memory.c, groups * panelStride);
  if (weights && !isFew) weights.stage(memory, 0, block.columns);
  if (!isFew) multiplyPanels();
  else if (isTransposed) multiplyTransposed();
  else multiplyColumns();

  operand.widenBias(memory.b, memory.bias);
  const sums = { at: memory.c, rowStep: 32, groupStep: panelStride, high: 16 };
  for (let r = 0; r < rows; r += finishedRows) {
    operand.finish(sums, r, Math.min(finishedRows, rows - r), memory.bias, memory.out);
  }
}
