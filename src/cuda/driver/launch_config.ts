// The configuration of a launch, as cuLaunchKernelEx reads it.
import type { Context } from "./context.ts";

const configBytes = 56; // sizeof(CUlaunchConfig)
const attributeBytes = 72; // sizeof(CUlaunchAttribute)
const programmaticSerialization = 6; // CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION

/** The grid of a launch. */
export interface Grid {
  readonly blocks: number;
  /** Threads per block. */
  readonly threads: number;
  /** Dynamic shared memory per block. */
  readonly sharedBytes: number;
}

/** A CUlaunchConfig. One buffer serves every launch of a kernel, because the driver reads it before it returns. */
export class LaunchConfig {
  readonly #words = new Uint32Array(configBytes / 4);
  readonly #pointers = new BigUint64Array(this.#words.buffer);
  readonly #attribute = new Uint32Array(attributeBytes / 4);

  /**
   * @param context The context of the kernel.
   * @param overlaps Whether the kernel may start before the kernel before it is complete. It must wait for that kernel itself.
   */
  constructor(context: Context, overlaps: boolean) {
    this.#words.set([1, 1, 1, 1, 1, 1]);
    if (!overlaps) return;
    this.#attribute[0] = programmaticSerialization;
    this.#attribute[2] = 1;
    this.#pointers[5] = context.driver.addressOf(this.#attribute);
    this.#words[12] = 1; // the number of attributes
  }

  /** Sets the grid and the stream. Returns the configuration, which is valid until the next call. */
  write({ blocks, threads, sharedBytes }: Grid, stream: bigint): Uint32Array<ArrayBuffer> {
    this.#words[0] = blocks;
    this.#words[3] = threads;
    this.#words[6] = sharedBytes;
    this.#pointers[4] = stream;
    return this.#words;
  }
}
