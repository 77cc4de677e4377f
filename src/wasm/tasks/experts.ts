import type { Context } from "../context.ts";

/** Bit patterns of half precision, in shared memory. */
type Halves = Uint16Array;

/** What {@linkcode experts} computes. Sizes as in `experts`; N kept assignments, sorted by expert. */
export interface ExpertsJob {
  readonly hidden: number;
  readonly intermediate: number;
  readonly topK: number;
  readonly alpha: number;
  readonly limit: number;
  /** [T, H]. */
  readonly hiddenStates: Halves;
  /** [E, H, 2I]. */
  readonly gateUpProj: Halves;
  /** [E, 2I]. */
  readonly gateUpProjBias: Halves | undefined;
  /** [E, I, H]. */
  readonly downProj: Halves;
  /** [E, H]. */
  readonly downProjBias: Halves | undefined;
  /** [T, K], the weight of each assignment. */
  readonly weights: Float32Array;
  /** N: the token of each kept assignment. */
  readonly tokens: Int32Array;
  /** [T, K]: the row of each assignment, -1 where it was dropped. */
  readonly rows: Int32Array;
  /** [N, I]: activations. May lie in `output`: the last activation is read before the first output is written. */
  readonly activations: Halves;
  /** [N, H]: the experts' outputs. */
  readonly expertOutputs: Halves;
  /** [T, H]. */
  readonly output: Halves;
  /** The work, `itemSize` numbers an item: kind, expert, first row, rows, first column, columns. */
  readonly items: Int32Array;
  /** Next item, then the number of finished items of each wait group: one an expert for gate-up, one for all down. */
  readonly progress: Int32Array;
  /** How many items each wait group has. */
  readonly groupSizes: Int32Array;
  readonly blocking: Blocking;
}

/** Sizes of what is packed at a time. */
export interface Blocking {
  /** The most depth of one pass: a panel of B, 32 bytes each, stays in L1. It settles the order of the sums. */
  readonly depth: number;
  /** Tiles of A, 24 bytes times the depth each, that stay in L2 while the panels of B go by. */
  readonly rowTiles: number;
}

/**
 * Works through the items, in order, with as many workers as there are. A down item waits until its expert's gate-up
 * items are done, a combine item until all down items are: what an item waits for stands before it, so the wait ends.
 */
export function experts(context: Context, job: ExpertsJob): void {
  const { kernels } = context;
  const { hidden, intermediate, topK, items, progress, groupSizes } = job;
  const gateUp = 0, down = 1;
  const itemSize = 6;
  const allDown = groupSizes.length - 1;
  let packed = ""; // whose rows lie packed in this worker's memory

  while (true) {
    const at = Atomics.add(progress, 0, 1) * itemSize;
    if (at >= items.length) return;
    const [kind, expert, row, rows, column, columns] = items.subarray(at, at + itemSize) as unknown as number[];
    if (kind === gateUp) {
      multiply(expert!, row!, rows!, column!, columns!, true);
      finish(expert!);
    } else if (kind === down) {
      waitFor(expert!);
      multiply(expert!, row!, rows!, column!, columns!, false);
      finish(allDown);
    } else {
      waitFor(allDown);
      combine(row!, rows!);
    }
  }

  function waitFor(group: number) {
    const size = groupSizes[group]!;
    for (let done = Atomics.load(progress, 1 + group); done < size; done = Atomics.load(progress, 1 + group)) {
      Atomics.wait(progress, 1 + group, done);
    }
  }

  function finish(group: number) {
    Atomics.add(progress, 1 + group, 1);
    Atomics.notify(progress, 1 + group);
  }

  /** One block of one expert's product: its rows of A, packed once for all items that follow with the same ones. */
  function multiply(expert: number, row: number, rows: number, column: number, columns: number, isGateUp: boolean) {
    const depth = isGateUp ? hidden : intermediate;
    const width = isGateUp ? 2 * intermediate : hidden;
    const b = isGateUp ? job.gateUpProj : job.downProj;
    const bias = isGateUp ? job.gateUpProjBias : job.downProjBias;
    const out = isGateUp ? job.activations : job.expertOutputs;

    const rowTiles = Math.ceil(rows / 6);
    const panels = Math.ceil(columns / 8);
    const paddedDepth = Math.ceil(depth / 4) * 4;
    const bStride = panels * 16;
    const outStride = isGateUp ? panels * 8 : panels * 16;
    const passes = Math.ceil(paddedDepth / job.blocking.depth);
    const passDepth = Math.ceil(paddedDepth / passes / 4) * 4;
    const passTiles = Math.min(job.blocking.rowTiles, rowTiles);
    const panelStride = rowTiles * 192;
    const memory = context.allocate({
      packedA: rowTiles * paddedDepth * 24, // the first area: it is to stay where it is
      a: passTiles * 6 * paddedDepth * 2,
      b: passDepth * bStride,
      packedB: panels * passDepth * 32,
      c: panels * panelStride,
      bias: panels * 32,
      out: rowTiles * 6 * outStride,
    });
    const { u16, f32, f16 } = context;
    // Where the tiles of A for one pass over the depth begin: pass after pass, tile after tile.
    const tilesAt = (k: number, tile: number, pass: number) => memory.packedA + (k * rowTiles + tile * pass) * 24;

    const key = `${isGateUp} ${row} ${rows}`;
    if (packed !== key) {
      const source = isGateUp ? job.hiddenStates : job.activations;
      const stride = paddedDepth * 2;
      for (let tile = 0; tile < rowTiles; tile += passTiles) {
        const tiles = Math.min(passTiles, rowTiles - tile);
        const count = Math.min(rows - tile * 6, tiles * 6);
        if (count % 6 || depth % 4) u16.fill(0, memory.a / 2, (memory.a + tiles * 6 * stride) / 2);
        for (let r = 0; r < count; r++) {
          const place = row + tile * 6 + r;
          const from = (isGateUp ? job.tokens[place]! : place) * depth;
          u16.set(source.subarray(from, from + depth), (memory.a + r * stride) / 2);
        }
        for (let k = 0; k < paddedDepth; k += passDepth) {
          const pass = Math.min(passDepth, paddedDepth - k);
          kernels.packA(memory.a + k * 2, stride, pass, tiles, tilesAt(k, tile, pass));
        }
      }
      packed = key;
    }

    f32.fill(0, memory.bias / 4, memory.bias / 4 + panels * 8);
    if (bias) {
      const from = expert * width + column;
      u16.set(bias.subarray(from, from + columns), memory.b / 2);
      f32.set(f16.subarray(memory.b / 2, memory.b / 2 + columns), memory.bias / 4);
    }

    if (columns % 8) u16.fill(0, memory.b / 2, (memory.b + passDepth * bStride) / 2);
    for (let k = 0; k < paddedDepth; k += passDepth) {
      const pass = Math.min(passDepth, paddedDepth - k);
      for (let i = 0; i < pass; i++) {
        const to = (memory.b + i * bStride) / 2;
        if (k + i >= depth) {
          u16.fill(0, to, to + panels * 8);
          continue;
        }
        const from = (expert * depth + k + i) * width + column;
        u16.set(b.subarray(from, from + columns), to);
      }
      kernels.packB(memory.b, bStride, pass, panels, memory.packedB);
      for (let tile = 0; tile < rowTiles; tile += passTiles) {
        const tiles = Math.min(passTiles, rowTiles - tile);
        const c = memory.c + tile * 192;
        kernels.multiply(tiles, panels, pass, tilesAt(k, tile, pass), memory.packedB, c, panelStride, k > 0);
      }
    }

    const { alpha, limit } = job;
    if (isGateUp) {
      kernels.storeSwiglu(memory.c, rowTiles, panels, panelStride, memory.bias, alpha, limit, memory.out, outStride);
    } else {
      kernels.storeLinear(memory.c, rowTiles, panels, panelStride, memory.bias, memory.out, outStride);
    }
    const outWidth = isGateUp ? intermediate : hidden;
    const outColumn = isGateUp ? column / 2 : column;
    const outColumns = isGateUp ? columns / 2 : columns;
    for (let r = 0; r < rows; r++) {
      const from = (memory.out + r * outStride) / 2;
      out.set(u16.subarray(from, from + outColumns), (row + r) * outWidth + outColumn);
    }
  }

  /** The output rows of some tokens: the weighted sums of their experts' rows, zeros where all were dropped. */
  function combine(token: number, tokens: number) {
    packed = "";
    const stride = Math.ceil(hidden / 8) * 16;
    // Each row is written in whole vectors, over the beginning of the next, which comes after it.
    const memory = context.allocate({ rows: topK * stride, weights: topK * 4, out: tokens * hidden * 2 + stride });
    const { u16, f32 } = context;
    const { rows, expertOutputs, weights } = job;
    for (let t = 0; t < tokens; t++) {
      let slots = 0;
      for (let i = (token + t) * topK, end = i + topK; i < end; i++) {
        const row = rows[i]!;
        if (row < 0) continue;
        u16.set(expertOutputs.subarray(row * hidden, (row + 1) * hidden), (memory.rows + slots * stride) / 2);
        f32[memory.weights / 4 + slots] = weights[i]!;
        slots += 1;
      }
      kernels.combine(memory.rows, stride, memory.weights, slots, stride / 2, memory.out + t * hidden * 2);
    }
    job.output.set(u16.subarray(memory.out / 2, memory.out / 2 + tokens * hidden), token * hidden);
  }
}
