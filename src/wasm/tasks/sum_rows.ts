import type { Context } from "../context.ts";
import type { Elements } from "../elements.ts";

/** What {@linkcode sumRows} adds up. Rows of H elements of one type. */
export interface SumRowsJob {
  /** Next chunk. */
  readonly next: Int32Array;
  /** The element type, by the kernels' number. */
  readonly dtype: number;
  readonly width: number;
  /** How many rows of the source make one of the output. */
  readonly slots: number;
  /** [T · slots, H]. */
  readonly source: Elements;
  /** [T, H]. */
  readonly addend: Elements | undefined;
  /** [T, 1]. */
  readonly addendWeights: Float32Array | undefined;
  /** [T, H]. */
  readonly output: Elements;
}

/** Sums in f32, in order, with one rounding: the source's rows of each row of the output, then that of the addend, times its weight. */
export function sumRows(context: Context, job: SumRowsJob): void {
  const { next, dtype, width, slots, source, addend, addendWeights, output } = job;
  const chunk = 64;
  const size = output.BYTES_PER_ELEMENT;
  const columns = Math.ceil(width / 8) * 8;
  const terms = addend ? slots + 1 : slots;
  const at = context.allocate({ rows: terms * columns * size, weights: terms * 4, out: columns * size });
  const staged = size === 2 ? context.u16 : context.f32;
  const sum = staged.subarray(at.out / size, at.out / size + width);
  context.f32.fill(1, at.weights / 4, at.weights / 4 + terms);
  const stage = (from: Elements, row: number, term: number) =>
    staged.set(from.subarray(row * width, (row + 1) * width), at.rows / size + term * columns);
  while (true) {
    const first = Atomics.add(next, 0, 1) * chunk;
    if (first * width >= output.length) return;
    for (let row = first; row < Math.min(first + chunk, output.length / width); row++) {
      for (let s = 0; s < slots; s++) stage(source, row * slots + s, s);
      if (addend) stage(addend, row, slots);
      if (addendWeights) context.f32[at.weights / 4 + slots] = addendWeights[row]!;
      context.kernels.combine(dtype, at.rows, columns * size, at.weights, terms, columns, at.out);
      output.set(sum, row * width);
    }
  }
}
