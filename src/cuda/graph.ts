import type { Stream } from "./stream.ts";

/** Captured work, ready to run as one launch. */
export class Graph implements Disposable {
  readonly #stream: Stream;
  #handle: bigint;

  /** Makes captured work executable. Takes over the captured graph, also when that fails. */
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

  /** Destroys the graph. A second time does nothing. */
  [Symbol.dispose](): void {
    const handle = this.#handle;
    this.#handle = 0n;
    if (handle !== 0n) this.#stream.context.release("cuGraphExecDestroy", handle);
  }
}
