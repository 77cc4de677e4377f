import type { Context } from "./context.ts";
import type { Stream } from "./stream.ts";

/** A point in a stream that the host can wait for and whose time it can read. */
export class Event implements Disposable {
  readonly #context: Context;
  #handle: bigint;

  /** Creates an event. */
  constructor(context: Context) {
    this.#context = context;
    this.#handle = context.handle("cuEventCreate", 0);
  }

  /** Records the current end of a stream's queue. */
  record(stream: Stream): void {
    this.#context.call("cuEventRecord", this.#handle, stream.handle);
  }

  /** Makes the work that is queued on a stream from now on wait for the recorded point. */
  block(stream: Stream): void {
    this.#context.call("cuStreamWaitEvent", stream.handle, this.#handle, 0);
  }

  /** Waits until the stream reaches the recorded point. Returns at once if nothing was recorded. */
  synchronize(): void {
    this.#context.call("cuEventSynchronize", this.#handle);
  }

  /** The device time in milliseconds from `start` to this event. The stream must have reached both. */
  millisecondsSince(start: Event): number {
    const out = new Float32Array(1);
    this.#context.call("cuEventElapsedTime_v2", out, start.#handle, this.#handle);
    return out[0]!;
  }

  /** Destroys the event. A second call does nothing. */
  [Symbol.dispose](): void {
    const handle = this.#handle;
    this.#handle = 0n;
    if (handle !== 0n) this.#context.release("cuEventDestroy_v2", handle);
  }
}
