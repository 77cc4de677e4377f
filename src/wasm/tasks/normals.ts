import type { Context } from "../context.ts";

/** What {@linkcode normals} fills and from where. */
export interface NormalsJob {
  /** Lock, next chunk, then the last 624 untempered words before the next chunk. */
  readonly state: Int32Array;
  /** Where the numbers go; its length is a multiple of 16. f16 and bf16 as bit patterns. */
  readonly target: Float32Array | Uint16Array;
  /** Numbers a worker takes at a time; a multiple of 16. */
  readonly chunk: number;
  /** Factor of each normal. f16 and bf16 round before and after it. */
  readonly scale: number;
  /** Whether the bit patterns are bf16. */
  readonly bfloat16: boolean;
}

/**
 * Fills an array with PyTorch's normals, with as many workers as there are. The twister is a chain through all chunks and
 * a fifth of the work: each worker runs it for one chunk under the lock, hands the chain on, and turns its words into
 * normals while the others go on. Which worker takes which chunk does not show in the result.
 */
export function normals(context: Context, { state, target, scale, chunk, bfloat16 }: NormalsJob): void {
  const { kernels } = context;
  const half = target instanceof Uint16Array && !bfloat16;
  const at = context.allocate({ words: (624 + chunk) * 4, numbers: chunk * 4 });
  const words = new Int32Array(context.u32.buffer, at.words, 624 + chunk);
  const numbers = half
    ? context.u16.subarray(at.numbers / 2, at.numbers / 2 + chunk)
    : context.f32.subarray(at.numbers / 4, at.numbers / 4 + chunk);
  const floats = context.f32.subarray(at.numbers / 4, at.numbers / 4 + chunk);
  const patterns = context.u32.subarray(at.numbers / 4, at.numbers / 4 + chunk);
  const factor = Math.fround(scale);
  /** The upper half of an f32, rounded to nearest, ties to even. There are no NaNs here. */
  const upperHalf = (word: number) => (word + 0x7fff + (word >>> 16 & 1)) >>> 16;
  const transform = half ? kernels.normalsF16 : kernels.normalsF32;
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
    transform(at.words + 624 * 4, count, at.numbers, bfloat16 ? 1 : scale);
    if (!bfloat16) {
      target.set(numbers.subarray(0, count), start);
      continue;
    }
    for (let i = 0; i < count; i++) {
      patterns[i] = upperHalf(patterns[i]!) << 16;
      floats[i]! *= factor;
      target[start + i] = upperHalf(patterns[i]!);
    }
  }
}
