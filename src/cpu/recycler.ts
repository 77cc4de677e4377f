/** Smaller arrays come from memory that the process has already. */
const smallest = 2 ** 20;

/**
 * The memory of a call's disposed tensors, for the next call of the same sizes: to touch new pages takes longer than to write
 * what goes there. It holds no more than one call gave back: memory that does not fit the next one is let go of.
 */
export class Recycler {
  #free: SharedArrayBuffer[] = [];

  /** Memory of exactly so many bytes, with what it held; nothing where there is none. */
  take(bytes: number): SharedArrayBuffer | undefined {
    if (bytes < smallest) return undefined;
    const at = this.#free.findIndex(({ byteLength }) => byteLength === bytes);
    if (at >= 0) return this.#free.splice(at, 1)[0];
    this.#free = [];
    return undefined;
  }

  /** Takes memory back that nothing uses any more. */
  give(memory: SharedArrayBuffer): void {
    if (memory.byteLength >= smallest) this.#free.push(memory);
  }
}
