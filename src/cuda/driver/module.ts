import type { Context } from "./context.ts";
import type { KernelRecord } from "../images/manifest_types.ts";
import { Kernel } from "./kernel.ts";

/** A loaded cubin and its kernels. */
export class Module implements Disposable {
  readonly #context: Context;
  readonly #kernels = new Map<string, Kernel>();
  #handle: bigint;

  /**
   * Loads a cubin.
   *
   * @param context Where to.
   * @param image The cubin, or PTX text that ends with a zero.
   * @param kernels What is known of each of its kernels.
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

  /** A kernel by its name. */
  kernel(name: string): Kernel | undefined {
    return this.#kernels.get(name);
  }

  /** Unloads the module. A second time does nothing. */
  [Symbol.dispose](): void {
    const handle = this.#handle;
    this.#handle = 0n;
    if (handle !== 0n) this.#context.release("cuModuleUnload", handle);
  }
}
