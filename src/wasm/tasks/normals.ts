import type { Context } from "../context.ts";
import type { Elements } from "../elements.ts";

/** The job of {@linkcode normals}. */
export interface NormalsJob {
  /** A lock, the next chunk, then the last 624 untempered words before the next chunk. */
  readonly state: Int32Array;
  /** The code of the target's element type. */
  readonly dtype: number;
  /** The array to fill. Its length is a multiple of 16. */
  readonly target: Elements;
  /** The number of normals in a chunk, a multiple of 16. */
  readonly chunk: number;
  /** A factor for each normal. f16 and bf16 values are rounded before and after the multiplication. */
  readonly scale: number;
}

/**
 * Fills an array with PyTorch's normals, on all workers. The twister is a chain through all chunks and a fifth of the work:
 * each worker runs it for one chunk under the lock, passes the chain on, and turns its words into normals while the
 * other workers continue. The result does not depend on which worker takes which chunk.
 */
export function normals(context: Context, { state, dtype, target, scale, chunk }: NormalsJob): void {
  const { kernels } = context;
  const size = target.BYTES_PER_ELEMENT;
  const at = context.allocate({ words: (624 + chunk) * 4, numbers: chunk * size });
  const words = new Int32Array(context.u32.buffer, at.words, 624 + chunk);
  const staged = size === 2 ? context.u16 : context.f32;
  const numbers = staged.subarray(at.numbers / size, at.numbers / size + chunk);
  while (true) {
    while (Atomics.compareExchange(state, 0, 0, 1) !== 0) Atomics.wait(state, 0, 1);
    const start = state[1]! * chunk;
    const count = Math.min(chunk, target.length - start);
    if (count > 0) {
      state[1]! += 1;
      words.set(state.subarray(2));
      kernels.twist(at.words, count);
      state.set(words.subarray(count, count + 624), 2);
    }
    Atomics.store(state, 0, 0);
    Atomics.notify(state, 0, 1);
    if (count <= 0) return;
    kernels.normals(dtype, at.words + 624 * 4, count, at.numbers, scale);
    target.set(numbers.subarray(0, count), start);
  }
}
