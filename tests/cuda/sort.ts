// Runs the kernels of the sort by themselves: the three for long lists with small chunks, so that a short list has many, and the
// one for short lists as it is planned. And a plain model of them.
import { assert } from "@std/assert";
import { Context } from "../../src/cuda/driver/context.ts";
import { loadImage } from "../../src/cuda/images/load.ts";
import { manifest } from "../../src/cuda/images/built/manifest.ts";
import type { KernelLaunch } from "../../src/cuda/driver/kernel.ts";
import { Driver } from "../../src/cuda/driver/driver.ts";
import { DeviceBuffer } from "../../src/cuda/driver/memory.ts";
import { Module } from "../../src/cuda/driver/module.ts";
import { Stream } from "../../src/cuda/driver/stream.ts";
import { planSort } from "../../src/cuda/plan/steps.ts";
import { MemoryCounter } from "../../src/backend/memory_counter.ts";

/** A sort. */
export interface SortJob {
  /** Some may be outside of the experts. */
  readonly indices: Int32Array<ArrayBuffer>;
  readonly experts: number;
  readonly topK: number;
  readonly capacity: number;
}

/** The tensors that the kernels write. */
export interface Sorted
  extends Record<"totals" | "rowOffsets" | "tileOffsets" | "rows" | "rowTokens", Int32Array<ArrayBuffer>> {
  /** The input weight of each row, which is {@linkcode weightOf} its assignment. */
  readonly rowScales: Float32Array<ArrayBuffer>;
}

const chunk = 256, tileRows = 16;

const weightOf = (assignment: number) => assignment / 4;

/** Assignments of a job with many chunks. Every 97th is to an unknown expert. */
export function sortJob(count: number, experts: number, capacity: number): SortJob {
  const bad = [-1, experts, -(2 ** 31), 2 ** 31 - 1];
  const pick = (i: number) => i % 97 === 5 ? bad[i % 4]! : (Math.imul(i, 2654435761) >>> 7) % experts;
  return { indices: Int32Array.from({ length: count }, (_, i) => pick(i)), experts, topK: 3, capacity };
}

/** Sorts on an emulated sm_80, with the kernel for short lists if `planned`, otherwise with the three for long lists. */
export async function sortOnDevice(
  library: string,
  { indices, experts, topK, capacity }: SortJob,
  planned = false,
): Promise<Sorted> {
  using context = new Context(new Driver(library), 0);
  using module = new Module(context, await loadImage("sm_80"), manifest.images.sm_80!.kernels);
  using stream = new Stream(context);
  using buffers = new DisposableStack();
  const allocate = (words: number) => buffers.use(new DeviceBuffer(stream, words * 4, new MemoryCounter()));
  const n = indices.length, blocks = Math.ceil(n / chunk);
  const input = allocate(n), counts = allocate(experts * blocks), totals = allocate(experts);
  const rowOffsets = allocate(experts + 1),
    tileOffsets = allocate(experts + 1),
    rows = allocate(n),
    tokens = allocate(n),
    weights = allocate(n),
    scales = allocate(n);
  input.write(indices);
  weights.write(Float32Array.from(indices, (_, i) => weightOf(i)));
  const launch = (
    kernel: string,
    shape: [number, number, number],
    args: KernelLaunch<DeviceBuffer | null>["arguments"],
  ) => {
    const [blocks, threads, sharedBytes] = shape;
    const given = Object.entries(args).map(([name, arg]) => [name, arg instanceof DeviceBuffer ? arg.pointer : arg]);
    module.launch(stream, { kernel, blocks, threads, sharedBytes, arguments: Object.fromEntries(given) });
  };
  if (planned) {
    const pointers = { indices: input, inputWeights: weights, totals, rowOffsets, tileOffsets, rows };
    const tensors = { ...pointers, counts: null, rowTokens: tokens, rowScales: scales };
    const [small, ...others] = planSort<DeviceBuffer | null>({ count: n, experts, topK, capacity, tileRows }, tensors);
    assert(small?.kernel === "sort_small" && others.length === 0);
    launch(small.kernel, [small.blocks, small.threads, small.sharedBytes], small.arguments);
  } else {
    launch("sort_histogram", [blocks, 256, experts * 4], { indices: input, counts, n, chunk, experts });
    launch("sort_scan", [1, 1024, experts * 4], {
      ...{ counts, totals, rowOffsets, tileOffsets, experts, blocks, capacity, tileRows },
    });
    launch("sort_rank", [blocks, 256, 8 * experts * 4], {
      ...{ indices: input, counts, rowOffsets, inputWeights: weights, rows, rowTokens: tokens, rowScales: scales },
      ...{ n, chunk, experts, topK, capacity },
    });
  }
  const read = (buffer: DeviceBuffer, words: number) => {
    const out = new Int32Array(words);
    buffer.read(out);
    stream.synchronize();
    return out;
  };
  const offsets = read(rowOffsets, experts + 1);
  return {
    totals: read(totals, experts),
    rowOffsets: offsets,
    tileOffsets: read(tileOffsets, experts + 1),
    rows: read(rows, n),
    rowTokens: read(tokens, offsets[experts]!), // the rest is not written
    rowScales: new Float32Array(read(scales, offsets[experts]!).buffer),
  };
}

/** Sorts by definition. */
export function sortPlainly({ indices, experts, topK, capacity }: SortJob): Sorted {
  const lists = Array.from({ length: experts }, (): number[] => []);
  indices.forEach((e, i) => lists[e]?.push(i));
  const rowOffsets = new Int32Array(experts + 1), tileOffsets = new Int32Array(experts + 1);
  const rows = new Int32Array(indices.length).fill(-1), rowTokens: number[] = [], rowScales: number[] = [];
  for (const [e, list] of lists.entries()) {
    for (const i of list.slice(0, capacity)) {
      rows[i] = rowTokens.length;
      rowTokens.push(Math.floor(i / topK));
      rowScales.push(weightOf(i));
    }
    rowOffsets[e + 1] = rowTokens.length;
    tileOffsets[e + 1] = tileOffsets[e]! + Math.ceil((rowOffsets[e + 1]! - rowOffsets[e]!) / tileRows);
  }
  const totals = Int32Array.from(lists, ({ length }) => length);
  return {
    ...{ totals, rowOffsets, tileOffsets, rows },
    rowTokens: Int32Array.from(rowTokens),
    rowScales: Float32Array.from(rowScales),
  };
}
