// Device memory, and page-locked host memory.
import type { MemoryCounter } from "../../backend/memory_counter.ts";
import type { Context } from "./context.ts";
import type { Stream } from "./stream.ts";

const releaseThreshold = 4; // CU_MEMPOOL_ATTR_RELEASE_THRESHOLD

/** Makes the device's memory pool keep freed memory, so that the next allocation takes microseconds. */
export function keepFreedMemory(context: Context): Disposable {
  const pool = context.handle("cuDeviceGetDefaultMemPool", context.device);
  const set = (bytes: bigint) => new BigUint64Array([bytes]);
  context.call("cuMemPoolSetAttribute", pool, releaseThreshold, set(2n ** 64n - 1n));
  return {
    [Symbol.dispose]() {
      using cleanup = new DisposableStack();
      cleanup.defer(() => context.release("cuMemPoolTrimTo", pool, 0n));
      context.release("cuMemPoolSetAttribute", pool, releaseThreshold, set(0n));
    },
  };
}

/** Device memory that is allocated and freed in the order of a stream. It can have several users; the last one frees it. */
export class DeviceBuffer implements Disposable {
  readonly bytes: number;
  readonly #stream: Stream;
  readonly #counter: MemoryCounter;
  #pointer: bigint;
  #users = 1;

  /** Allocates memory. Its contents are undefined. */
  constructor(stream: Stream, bytes: number, counter: MemoryCounter) {
    this.bytes = bytes;
    this.#stream = stream;
    this.#counter = counter;
    this.#pointer = stream.memory.allocate(bytes);
    counter.take(bytes);
  }

  /** The CUdeviceptr. */
  get pointer(): bigint {
    if (this.#pointer === 0n) throw new TypeError("Cannot use a tensor that is disposed");
    return this.#pointer;
  }

  /** The number of users. */
  get users(): number {
    return this.#users;
  }

  /** Adds a user, who must dispose the buffer too. Returns the buffer. */
  retain(): this {
    this.#users += 1;
    return this;
  }

  /** Queues a copy from the host. The host memory must not change until the copy is complete. */
  write(source: BufferSource, offset = 0): void {
    if (source.byteLength === 0) return;
    const { context, handle } = this.#stream;
    context.call("cuMemcpyHtoDAsync_v2", this.pointer + BigInt(offset), source, BigInt(source.byteLength), handle);
  }

  /** Queues a copy to the host. */
  read(target: BufferSource, offset = 0): void {
    if (target.byteLength === 0) return;
    const { context, handle } = this.#stream;
    context.call("cuMemcpyDtoHAsync_v2", target, this.pointer + BigInt(offset), BigInt(target.byteLength), handle);
  }

  /** Queues the writing of zeros to all bytes. */
  clear(): void {
    const { context, handle } = this.#stream;
    if (this.bytes > 0) context.call("cuMemsetD8Async", this.pointer, 0, BigInt(this.bytes), handle);
  }

  /** Removes a user. Without users, queues the freeing of the memory; a further call does nothing. */
  [Symbol.dispose](): void {
    this.#users -= 1;
    if (this.#users > 0 || this.#pointer === 0n) return;
    const pointer = this.#pointer;
    this.#pointer = 0n;
    this.#counter.give(this.bytes);
    this.#stream.memory.free(pointer, this.bytes);
  }
}

/** Shared, page-locked host memory. Copies from and to it are fast and asynchronous. */
export class StagingBuffer implements Disposable {
  /**
   * All memory that is locked. Without a reference, that of a backend which nobody closes would be collected while the driver
   * still copies from and to it, and the driver would refuse its addresses for later buffers.
   */
  static readonly #locked = new Set<SharedArrayBuffer>();

  /** The memory. */
  readonly memory: SharedArrayBuffer;
  readonly #context: Context;
  #registered = true;

  /** Allocates and locks host memory. */
  constructor(context: Context, bytes: number) {
    this.#context = context;
    this.memory = new SharedArrayBuffer(bytes);
    context.call("cuMemHostRegister_v2", new Uint8Array(this.memory), BigInt(bytes), 0);
    StagingBuffer.#locked.add(this.memory);
  }

  /** The address of the memory for kernels, a CUdeviceptr. */
  get pointer(): bigint {
    return this.#context.handle("cuMemHostGetDevicePointer_v2", new Uint8Array(this.memory), 0);
  }

  /** Unlocks the memory. A second call does nothing. */
  [Symbol.dispose](): void {
    if (!this.#registered) return;
    this.#registered = false;
    this.#context.release("cuMemHostUnregister", new Uint8Array(this.memory));
    StagingBuffer.#locked.delete(this.memory);
  }
}
