import type { Context } from "./context.ts";
import { CudaError } from "./error.ts";

/** The size of the largest block that is kept: calls with larger tensors take much longer than the driver's functions. */
const largestBlock = 2 ** 24;

/** The maximum number of bytes in all blocks that are kept. */
const maximumFreeBytes = 2 ** 26;

const outOfMemory = 2; // CUDA_ERROR_OUT_OF_MEMORY

/**
 * Device memory that is allocated and freed in the order of a stream. Freed blocks are kept for later allocations of the same
 * size, because the driver's functions take longer than the rest of a short call. The stream orders all uses of a block.
 */
export class StreamMemory implements Disposable {
  readonly #context: Context;
  /** The CUstream. */
  #stream: bigint;
  /** The free blocks by their size, with the size that was freed last at the end. */
  readonly #free = new Map<number, bigint[]>();
  #freeBytes = 0;
  #keepsFreed: boolean;

  constructor(context: Context, stream: bigint, keepsFreed: boolean) {
    this.#context = context;
    this.#stream = stream;
    this.#keepsFreed = keepsFreed;
  }

  /** Allocates a block and returns its CUdeviceptr. */
  allocate(bytes: number): bigint {
    const block = this.#free.get(bytes)?.pop();
    if (block !== undefined) {
      this.#freeBytes -= bytes;
      return block;
    }
    try {
      return this.#allocate(bytes);
    } catch (error) {
      if (this.#freeBytes === 0 || !(error instanceof CudaError && error.code === outOfMemory)) throw error;
      this.#shrink(0);
      return this.#allocate(bytes);
    }
  }

  /** Frees a block. */
  free(block: bigint, bytes: number): void {
    if (!this.#keepsFreed || bytes > largestBlock) return this.#release(block);
    const blocks = this.#free.get(bytes) ?? [];
    if (blocks.length === 0) {
      this.#free.delete(bytes);
      this.#free.set(bytes, blocks);
    }
    blocks.push(block);
    this.#freeBytes += bytes;
    if (this.#freeBytes > maximumFreeBytes) this.#shrink(maximumFreeBytes);
  }

  /** Releases the sizes that were not freed for the longest time. */
  #shrink(maximum: number): void {
    using released = new DisposableStack();
    for (const [bytes, blocks] of this.#free) {
      if (this.#freeBytes <= maximum) return;
      this.#free.delete(bytes);
      this.#freeBytes -= bytes * blocks.length;
      for (const block of blocks) released.defer(() => this.#release(block));
    }
  }

  #allocate(bytes: number): bigint {
    return this.#context.handle("cuMemAllocAsync", BigInt(Math.max(bytes, 1)), this.#stream); // the driver refuses 0 bytes
  }

  #release(block: bigint): void {
    this.#context.release("cuMemFreeAsync", block, this.#stream);
  }

  /** Releases all free blocks. Blocks that are freed later are released at once. */
  [Symbol.dispose](): void {
    this.#keepsFreed = false;
    try {
      this.#shrink(-1);
    } finally {
      this.#stream = 0n; // the stream is destroyed next: the default stream frees what is left
    }
  }
}
