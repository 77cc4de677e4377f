import type { Context } from "./context.ts";
import type { KernelRecord } from "../images/manifest_types.ts";
import { Kernel, type KernelLaunch } from "./kernel.ts";
import type { Stream } from "./stream.ts";

/** A loaded cubin and its kernels. */
export class Module implements Disposable {
  readonly #context: Context;
  readonly #kernels = new Map<string, Kernel>();
  #handle: bigint;

  /**
   * Loads a cubin.
   *
   * @param context The context to load it into.
   * @param image The cubin, or PTX text with a trailing zero.
   * @param kernels The records of its kernels.
   */
  constructor(context: Context, image: Uint8Array<ArrayBuffer>, kernels: readonly KernelRecord[]) {
    this.#context = context;
    this.#handle = context.handle("cuModuleLoadData", image);
    using cleanup = new DisposableStack();
    cleanup.use(this);
    for (const record of kernels) {
      const name = new TextEncoder().encode(`${record.name}\0`);
      this.#kernels.set(
        record.name,
        new Kernel(context, context.handle("cuModuleGetFunction", this.#handle, name), record),
      );
    }
    cleanup.move();
  }

  /**
   * Queues a kernel.
   *
   * @throws {TypeError} If the module does not have the kernel, or the arguments are not the kernel's.
   */
  launch(stream: Stream, launch: KernelLaunch): void {
    this.#kernel(launch.kernel).launch(stream, launch);
  }

  /** Prepares launches of a kernel; see {@linkcode Kernel.prepare}. */
  prepare<Name extends string, Call>(
    launch: KernelLaunch<Name>,
    pointerOf: (name: Name) => (call: Call) => bigint | null,
  ): (stream: Stream, call: Call) => void {
    return this.#kernel(launch.kernel).prepare(launch, pointerOf);
  }

  #kernel(name: string): Kernel {
    const kernel = this.#kernels.get(name);
    if (!kernel) throw new TypeError(`Cannot launch ${name}: the image does not have this kernel`);
    return kernel;
  }

  /** Unloads the module. A second call does nothing. */
  [Symbol.dispose](): void {
    const handle = this.#handle;
    this.#handle = 0n;
    if (handle !== 0n) this.#context.release("cuModuleUnload", handle);
  }
}
