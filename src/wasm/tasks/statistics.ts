import type { Context } from "../context.ts";

/** What {@linkcode statistics} reads and where it puts its results. */
export interface StatisticsJob {
  /** Next chunk. */
  readonly next: Int32Array;
  /** Half precision bit patterns. */
  readonly values: Uint16Array;
  /** Values a chunk; a multiple of 4. */
  readonly chunk: number;
  /** Sum, sum of magnitudes, minimum and maximum of each chunk. */
  readonly results: Float64Array;
}

/** Sums an array chunk by chunk, so that the total does not depend on the number of workers. */
export function statistics(context: Context, { next, values, chunk, results }: StatisticsJob): void {
  const at = context.allocate({ values: chunk * 2, results: 32 });
  while (true) {
    const index = Atomics.add(next, 0, 1);
    const start = index * chunk;
    if (start >= values.length) return;
    const count = Math.min(chunk, values.length - start);
    const whole = count - count % 4;
    context.u16.set(values.subarray(start, start + count), at.values / 2);
    context.kernels.statistics(at.values, whole, at.results);
    const result = context.f64.slice(at.results / 8, at.results / 8 + 4);
    for (let i = whole; i < count; i++) {
      const value = context.f16[at.values / 2 + i]!;
      result[0]! += value;
      result[1]! += Math.abs(value);
      result[2] = Math.min(result[2]!, value);
      result[3] = Math.max(result[3]!, value);
    }
    results.set(result, index * 4);
  }
}
