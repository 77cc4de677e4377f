import type { Context } from "../context.ts";
import type { Elements } from "../elements.ts";

/** The job of {@linkcode statistics}. */
export interface StatisticsJob {
  /** The next chunk. */
  readonly next: Int32Array;
  /** The code of the values' element type. */
  readonly dtype: number;
  readonly values: Elements;
  /** The number of values in a chunk, a multiple of 4. */
  readonly chunk: number;
  /** The sum, the sum of magnitudes, the minimum and the maximum of each chunk. */
  readonly results: Float64Array;
}

/** Computes the statistics of an array chunk by chunk, so that they do not depend on the number of workers. */
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
      // The kernel takes four values: the sum of four equal values, in f64, is four times the value.
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
