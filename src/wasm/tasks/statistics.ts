import type { Context } from "../context.ts";

/** What {@linkcode statistics} reads and where it puts its results. */
export interface StatisticsJob {
  /** Next chunk. */
  readonly next: Int32Array;
  /** The values' element type, by the kernels' number. */
  readonly dtype: number;
  /** The values; those of two bytes as bit patterns. */
  readonly values: Uint16Array | Float32Array;
  /** Values a chunk; a multiple of 4. */
  readonly chunk: number;
  /** Sum, sum of magnitudes, minimum and maximum of each chunk. */
  readonly results: Float64Array;
}

/** Sums an array chunk by chunk, so that the total does not depend on the number of workers. */
export function statistics(context: Context, { next, dtype, values, chunk, results }: StatisticsJob): void {
  const { kernels } = context;
  const size = values.BYTES_PER_ELEMENT;
  const at = context.allocate({ values: chunk * size, results: 32 });
  const staged = values instanceof Uint16Array ? context.u16 : context.f32;
  const first = at.values / size;
  const summary = context.f64.subarray(at.results / 8, at.results / 8 + 4);
  while (true) {
    const index = Atomics.add(next, 0, 1);
    const start = index * chunk;
    if (start >= values.length) return;
    const count = Math.min(chunk, values.length - start);
    const whole = count - count % 4;
    staged.set(values.subarray(start, start + count), first);
    kernels.statistics(dtype, at.values, whole, at.results);
    const result = summary.slice();
    for (let i = start + whole; i < start + count; i++) {
      // Four of one value: their sum, in f64, is four times it.
      staged.fill(values[i]!, first, first + 4);
      kernels.statistics(dtype, at.values, 4, at.results);
      result[0]! += summary[0]! / 4;
      result[1]! += summary[1]! / 4;
      result[2] = Math.min(result[2]!, summary[2]!);
      result[3] = Math.max(result[3]!, summary[3]!);
    }
    results.set(result, index * 4);
  }
}
