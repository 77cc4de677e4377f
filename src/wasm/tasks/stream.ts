import type { Context } from "../context.ts";

/** The job of {@linkcode stream}. */
export interface StreamJob {
  /** The next chunk. */
  readonly next: Int32Array;
  readonly source: Uint8Array;
  readonly target: Uint8Array;
  /** Bytes of a chunk. */
  readonly chunk: number;
}

/** Copies one array to another at the rate that the memory allows for all threads together. */
export function stream(_context: Context, { next, source, target, chunk }: StreamJob): void {
  while (true) {
    const start = Atomics.add(next, 0, 1) * chunk;
    if (start >= source.length) return;
    target.set(source.subarray(start, start + chunk), start);
  }
}
