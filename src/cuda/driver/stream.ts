import type { Context } from "./context.ts";
import { StreamMemory } from "./stream_memory.ts";

const nonBlocking = 1; // CU_STREAM_NON_BLOCKING: not ordered with the legacy stream
const highPriority = -5; // the driver uses the nearest priority that it has
const threadLocal = 1; // CU_STREAM_CAPTURE_MODE_THREAD_LOCAL

/** A queue of work that the device runs in order. */
export class Stream implements Disposable {
  readonly context: Context;
  /** Allocates memory in the order of the stream. */
  readonly memory: StreamMemory;
  #handle: bigint;

  /**
   * Creates a stream.
   *
   * @param options.urgent Whether the blocks of the stream's kernels start before those of other streams that wait.
   * @param options.keepsFreed Whether small freed blocks of memory are kept for later allocations.
   */
  constructor(
    context: Context,
    { urgent = false, keepsFreed = false }: { readonly urgent?: boolean; readonly keepsFreed?: boolean } = {},
  ) {
    this.context = context;
    this.#handle = urgent
      ? context.handle("cuStreamCreateWithPriority", nonBlocking, highPriority)
      : context.handle("cuStreamCreate", nonBlocking);
    this.memory = new StreamMemory(context, this.#handle, keepsFreed);
  }

  /** The CUstream. */
  get handle(): bigint {
    return this.#handle;
  }

  /** Waits for all queued work. */
  synchronize(): void {
    this.context.call("cuStreamSynchronize", this.#handle);
  }

  /** Records the work that `queue` queues, without running it, as a graph that can be launched repeatedly. */
  capture(queue: () => void): Graph {
    this.context.call("cuStreamBeginCapture_v2", this.#handle, threadLocal);
    const template = new BigUint64Array(1);
    let failed = true;
    try {
      queue();
      this.context.call("cuStreamEndCapture", this.#handle, template);
      failed = false;
    } finally {
      // A failed capture must be ended too, or the stream cannot be used any more.
      if (failed) this.#abandonCapture();
    }
    return new Graph(this, template[0]!);
  }

  #abandonCapture(): void {
    const template = new BigUint64Array(1);
    try {
      this.context.call("cuStreamEndCapture", this.#handle, template);
    } catch {
      return; // The capture was invalid and has ended; the first error is the one to report.
    }
    if (template[0] !== 0n) this.context.release("cuGraphDestroy", template[0]!);
  }

  /** Destroys the stream. A second call does nothing. */
  [Symbol.dispose](): void {
    const handle = this.#handle;
    if (handle === 0n) return;
    this.#handle = 0n;
    using cleanup = new DisposableStack();
    cleanup.defer(() => this.context.release("cuStreamDestroy_v2", handle));
    cleanup.use(this.memory);
  }
}

/** Captured work that runs with one launch. */
export class Graph implements Disposable {
  readonly #stream: Stream;
  #handle: bigint;

  /** Instantiates a captured graph. Takes over the captured graph, even if it fails. */
  constructor(stream: Stream, template: bigint) {
    this.#stream = stream;
    using cleanup = new DisposableStack();
    cleanup.defer(() => stream.context.release("cuGraphDestroy", template));
    this.#handle = stream.context.handle("cuGraphInstantiateWithFlags", template, 0n);
  }

  /** Queues the work. */
  launch(): void {
    this.#stream.context.call("cuGraphLaunch", this.#handle, this.#stream.handle);
  }

  /** Destroys the graph. A second call does nothing. */
  [Symbol.dispose](): void {
    const handle = this.#handle;
    this.#handle = 0n;
    if (handle !== 0n) this.#stream.context.release("cuGraphExecDestroy", handle);
  }
}
