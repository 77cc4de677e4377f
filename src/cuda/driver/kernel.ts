import type { Context } from "./context.ts";
import type { KernelRecord } from "../images/manifest_types.ts";
import type { Stream } from "./stream.ts";
import { encodeTensorMap, mapBytes, type TensorMapOptions } from "./tensor_map.ts";

const maxDynamicSharedSizeBytes = 8; // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES

/** The dynamic shared memory that a kernel gets without asking. */
const defaultSharedBytes = 48 * 1024;

/** CU_LAUNCH_PARAM_BUFFER_POINTER, _SIZE and _END: the tags of cuLaunchKernel's last argument. */
const bufferPointer = 1n, bufferSize = 2n, end = 0n;

/** An argument of a kernel: a device pointer, an int, a float, or a tensor map by what makes it. */
export type Argument = bigint | number | { readonly float: number } | TensorMapOptions;

function bytesOf(value: Argument): number {
  if (typeof value === "object") return "box" in value ? mapBytes : 4;
  return typeof value === "bigint" ? 8 : 4;
}

/** How many blocks and threads run, and their dynamic shared memory. */
export interface LaunchShape {
  readonly blocks: number;
  readonly threads: number;
  readonly sharedBytes: number;
}

/** A kernel of a loaded module. */
export class Kernel {
  readonly record: KernelRecord;
  readonly #context: Context;
  readonly #handle: bigint;
  readonly #arguments: DataView<ArrayBuffer>;
  readonly #extra: BigUint64Array<ArrayBuffer>;
  readonly #size: BigUint64Array<ArrayBuffer>;
  #sharedLimit = defaultSharedBytes;

  constructor(context: Context, handle: bigint, record: KernelRecord) {
    this.#context = context;
    this.#handle = handle;
    this.record = record;
    // One packed buffer, laid out as the cubin says and used for every launch: the driver copies it before it returns.
    const last = record.parameters.at(-1);
    const bytes = last ? last.offset + last.size : 0;
    this.#arguments = new DataView(new ArrayBuffer(Math.max(bytes, 8)));
    this.#size = new BigUint64Array([BigInt(bytes)]);
    const { driver } = context;
    this.#extra = new BigUint64Array([
      bufferPointer,
      driver.addressOf(this.#arguments),
      bufferSize,
      driver.addressOf(this.#size),
      end,
    ]);
  }

  /**
   * Queues the kernel.
   *
   * @throws {RangeError} If the arguments are not those of its signature.
   */
  launch(stream: Stream, { blocks, threads, sharedBytes }: LaunchShape, args: readonly Argument[]): void {
    const { name, parameters } = this.record;
    if (args.length !== parameters.length) {
      throw new RangeError(`${name} must be launched with ${parameters.length} arguments, got ${args.length}`);
    }
    for (const [i, { offset, size }] of parameters.entries()) {
      const value = args[i]!;
      if (size !== bytesOf(value)) {
        throw new RangeError(`Argument ${i} of ${name} must have ${size} bytes, got ${Deno.inspect(value)}`);
      }
      if (typeof value === "bigint") this.#arguments.setBigUint64(offset, value, true);
      else if (typeof value === "object") {
        if ("float" in value) this.#arguments.setFloat32(offset, value.float, true);
        else new Uint8Array(this.#arguments.buffer, offset, size).set(encodeTensorMap(this.#context, value));
      } else if (value === (value | 0)) this.#arguments.setInt32(offset, value, true);
      else throw new RangeError(`Argument ${i} of ${name} must be a 32-bit integer, got ${value}`);
    }
    this.#allowShared(sharedBytes);
    this.#context.call(
      "cuLaunchKernel",
      this.#handle,
      ...[blocks, 1, 1] as const,
      ...[threads, 1, 1] as const,
      sharedBytes,
      stream.handle,
      null,
      this.#extra,
    );
  }

  #allowShared(bytes: number): void {
    if (bytes <= this.#sharedLimit) return;
    this.#context.call("cuFuncSetAttribute", this.#handle, maxDynamicSharedSizeBytes, bytes);
    this.#sharedLimit = bytes;
  }
}
