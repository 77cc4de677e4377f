/** Smaller arrays use memory that the process already has. */
const minimumBytes = 2 ** 20;

/** The memory of a few calls that run at the same time. Each call obtains at most three arrays. */
const maximumArrays = 12;

/**
 * Keeps the memory of disposed tensors for the next call with the same sizes, because the first access to new pages takes
 * longer than the work on them. It drops everything when a size is not found.
 */
export class Recycler {
  #free: SharedArrayBuffer[] = [];

  /** Returns memory of exactly this size, with its old contents. Returns undefined if none is free. */
  take(bytes: number): SharedArrayBuffer | undefined {
    if (bytes < minimumBytes) return undefined;
    const at = this.#free.findIndex(({ byteLength }) => byteLength === bytes);
    if (at >= 0) return this.#free.splice(at, 1)[0];
    this.clear();
    return undefined;
  }

  /** Adds memory that nothing uses any more. */
  give(memory: SharedArrayBuffer): void {
    if (memory.byteLength >= minimumBytes && this.#free.length < maximumArrays) this.#free.push(memory);
  }

  /** Drops the free memory. */
  clear(): void {
    this.#free = [];
  }
}
