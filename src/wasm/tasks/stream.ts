import type { Context } from "../context.ts";

/** The job of {@linkcode stream}. */
export interface StreamJob {
  /** The next chunk. */
  readonly next: Int32Array;
  readonly source: Uint8Array;
  /** The copy of the source. Without it, the source is only read: each worker copies every chunk to the same place. */
  readonly target: Uint8Array | undefined;
  /** Bytes of a chunk. */
  readonly chunk: number;
}

/** Copies or reads an array at the rate that the memory allows for all threads together. */
export function stream(_context: Context, { next, source, target, chunk }: StreamJob): void {
  const place = target ?? new Uint8Array(chunk);
  while (true) {
    const start = Atomics.add(next, 0, 1) * chunk;
    if (start >= source.length) return;
    place.set(source.subarray(start, start + chunk), target ? start : 0);
  }
}
