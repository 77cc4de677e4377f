// What the GPU backend keeps of a captured function: the work that it queues, and all memory that the work uses.
import type { Captured, KernelTime } from "../backend/backend.ts";
import type { CapturedRun, Captures } from "../backend/captures.ts";
import type { MemoryCounter } from "../backend/memory_counter.ts";
import { DeviceBuffer } from "./driver/memory.ts";
import type { Graph, Stream } from "./driver/stream.ts";
import type { Stopwatch } from "./stopwatch.ts";

/** A kernel that is queued, and its work if that is known. */
export type QueuedKernel = Omit<KernelTime, "milliseconds">;

/**
 * The recording of a captured function. It is a user of every buffer that the function uses, so that the addresses in the
 * graph stay valid. Within the function, a buffer without other users serves the next allocation of its size: the stream
 * orders both uses, in each replay too.
 */
export class Recording implements Disposable {
  readonly #stream: Stream;
  readonly #counter: MemoryCounter;
  readonly #work: (() => void)[] = [];
  readonly #allocated = new Set<DeviceBuffer>();
  readonly #kept = new Set<DeviceBuffer>();

  constructor(stream: Stream, counter: MemoryCounter) {
    this.#stream = stream;
    this.#counter = counter;
  }

  /** Allocates memory. The caller is a user of it. */
  allocate(bytes: number): DeviceBuffer {
    for (const buffer of this.#allocated) {
      if (buffer.bytes === bytes && buffer.users === 1) return buffer.retain();
    }
    const buffer = new DeviceBuffer(this.#stream, bytes, this.#counter);
    this.#allocated.add(buffer);
    return buffer.retain();
  }

  /** Keeps memory from outside of the function. */
  keep(buffer: DeviceBuffer): void {
    if (!this.#allocated.has(buffer) && !this.#kept.has(buffer)) this.#kept.add(buffer.retain());
  }

  /** Queues a kernel and records it. */
  queue(_kernel: QueuedKernel, work: () => void): void {
    work();
    this.#work.push(work);
  }

  /** Captures the recorded work. */
  instantiate(): Graph {
    return this.#stream.capture(() => this.#work.forEach((work) => work()));
  }

  /** Stops using the memory. */
  [Symbol.dispose](): void {
    using buffers = new DisposableStack();
    for (const buffer of [...this.#allocated, ...this.#kept]) buffers.use(buffer);
    this.#allocated.clear();
    this.#kept.clear();
  }
}

/** A recording that measures each kernel while the function runs, and keeps only the times. */
export class Profile extends Recording {
  readonly times: KernelTime[] = [];
  readonly #stopwatch: Stopwatch;

  constructor(stream: Stream, counter: MemoryCounter, stopwatch: Stopwatch) {
    super(stream, counter);
    this.#stopwatch = stopwatch;
  }

  override queue(kernel: QueuedKernel, work: () => void): void {
    this.times.push({ ...kernel, milliseconds: this.#stopwatch.time(work) });
  }
}

/** A captured function as a graph, with its memory. */
export class CapturedGraph<Result> implements Captured<Result> {
  readonly result: Result;
  readonly #captures: Captures<Recording>;
  readonly #graph: Graph;
  readonly #owned: DisposableStack;

  /** Instantiates the graph. Takes over the recording and the tensors of the run, even if it fails. */
  constructor({ result, tensors }: CapturedRun<Result>, recording: Recording, captures: Captures<Recording>) {
    this.#captures = captures;
    using owned = new DisposableStack();
    owned.use(recording);
    for (const tensor of tensors) owned.use(tensor);
    this.#graph = owned.use(recording.instantiate());
    this.result = result;
    this.#owned = owned.move();
  }

  replay(): Promise<void> {
    return Promise.try(() => {
      if (this.#owned.disposed) throw new TypeError("Cannot replay a capture that is disposed");
      this.#captures.refuse("replay"); // the other graph would not contain the launch
      this.#graph.launch();
    });
  }

  [Symbol.dispose](): void {
    this.#owned[Symbol.dispose]();
  }
}
