// Measures the device time of work on a stream.
import type { Measurement } from "../backend/backend.ts";
import type { Context } from "./driver/context.ts";
import { Event } from "./driver/event.ts";
import type { KernelLaunch } from "./driver/kernel.ts";
import { StagingBuffer } from "./driver/memory.ts";
import type { Stream } from "./driver/stream.ts";

/**
 * The maximum time in microseconds for which the stream waits for the host. It ends the wait if the work itself waits for the
 * stream: when the driver loads a kernel, or the queue is full.
 */
const maximumWait = 20_000;

/**
 * A stopwatch whose clock does not run while the host queues the work: a kernel keeps the stream busy until the host has written
 * a flag. Any number of calls can be queued meanwhile. A kernel that spins for a fixed time would have to know how long that takes.
 */
export class Stopwatch implements Disposable {
  readonly #stream: Stream;
  readonly #launch: (launch: KernelLaunch) => void;
  readonly #start: Event;
  readonly #end: Event;
  readonly #flag: Int32Array;
  readonly #flagPointer: bigint;
  readonly #owned: DisposableStack;
  /** The number of the last wait. The flag is the number of the last one that may end. */
  #ticket = 0;

  constructor(context: Context, stream: Stream, launch: (launch: KernelLaunch) => void) {
    this.#stream = stream;
    this.#launch = launch;
    using owned = new DisposableStack();
    this.#start = owned.use(new Event(context));
    this.#end = owned.use(new Event(context));
    const memory = owned.use(new StagingBuffer(context, 4));
    this.#flag = new Int32Array(memory.memory);
    this.#flagPointer = memory.pointer;
    this.#owned = owned.move();
  }

  /**
   * Runs a function and measures the work that it queues.
   *
   * @param prepare Queues work that comes before it and is not measured. It runs when the host no longer delays the stream.
   */
  async measure<Result>(run: () => Promise<Result>, prepare?: () => void): Promise<Measurement<Result>> {
    const begin = performance.now();
    this.#hold();
    prepare?.();
    this.#start.record(this.#stream);
    try {
      const runBegin = performance.now();
      const result = await run();
      const hostMilliseconds = performance.now() - runBegin;
      this.#end.record(this.#stream);
      const milliseconds = this.#finish();
      return { result, milliseconds, wallMilliseconds: performance.now() - begin, hostMilliseconds };
    } finally {
      this.release();
    }
  }

  /** Measures the work that a function queues, in milliseconds. */
  time(queue: () => void): number {
    this.#hold();
    try {
      this.#start.record(this.#stream);
      queue();
      this.#end.record(this.#stream);
      return this.#finish();
    } finally {
      this.release();
    }
  }

  /** Lets the stream continue. Called before the host waits for the stream, which would wait for the host otherwise. */
  release(): void {
    Atomics.store(this.#flag, 0, this.#ticket);
  }

  /** Makes the stream wait until {@linkcode Stopwatch.release} is called. */
  #hold(): void {
    this.#ticket += 1;
    const args = { flag: this.#flagPointer, ticket: this.#ticket, microseconds: maximumWait };
    this.#launch({ kernel: "wait_for_host", blocks: 1, threads: 1, sharedBytes: 0, arguments: args });
  }

  #finish(): number {
    this.release();
    this.#end.synchronize();
    return this.#end.millisecondsSince(this.#start);
  }

  [Symbol.dispose](): void {
    this.release();
    this.#owned[Symbol.dispose]();
  }
}
