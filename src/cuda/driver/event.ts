import type { Context } from "./context.ts";
import type { Stream } from "./stream.ts";

/** A point in a stream that can be waited for and timed. */
export class Event implements Disposable {
  readonly #context: Context;
  #handle: bigint;

  /** Creates an event. */
  constructor(context: Context) {
    this.#context = context;
    this.#handle = context.handle("cuEventCreate", 0);
  }

  /** Marks the point that a stream's queue has come to. */
  record(stream: Stream): void {
    this.#context.call("cuEventRecord", this.#handle, stream.handle);
  }

  /** Waits until the marked point is reached. An event that was never recorded is. */
  synchronize(): void {
    this.#context.call("cuEventSynchronize", this.#handle);
  }

  /** Milliseconds of the device from `start` to this event. Both must have been reached. */
  millisecondsSince(start: Event): number {
    const out = new Float32Array(1);
    this.#context.call("cuEventElapsedTime_v2", out, start.#handle, this.#handle);
    return out[0]!;
  }

  /** Destroys the event. A second time does nothing. */
  [Symbol.dispose](): void {
    const handle = this.#handle;
    this.#handle = 0n;
    if (handle !== 0n) this.#context.release("cuEventDestroy_v2", handle);
  }
}
