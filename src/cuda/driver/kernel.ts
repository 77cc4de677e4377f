import type { ArgumentField, KernelRecord } from "../images/manifest_types.ts";
import type { Context } from "./context.ts";
import { type Grid, LaunchConfig } from "./launch_config.ts";
import type { Stream } from "./stream.ts";
import { encodeTensorMap, type TensorMapOptions } from "./tensor_map.ts";

const maxDynamicSharedSizeBytes = 8; // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES

/** The dynamic shared memory that a kernel may have by default, in bytes. */
const defaultSharedBytes = 48 * 1024;

/** CU_LAUNCH_PARAM_BUFFER_POINTER, _SIZE and _END: the tags in the last argument of cuLaunchKernelEx. */
const bufferPointer = 1n, bufferSize = 2n, end = 0n;

/**
 * The value of one kernel argument: a device pointer, null, a number, or the description of a tensor map.
 *
 * @typeParam Pointer A device pointer, or a name that is replaced by one later.
 */
export type ArgumentValue<Pointer = bigint> = Pointer | null | number | TensorMapOptions<Pointer>;

/**
 * A kernel launch.
 *
 * @typeParam Pointer A device pointer, or a name that is replaced by one later.
 */
export interface KernelLaunch<Pointer = bigint> extends Grid {
  readonly kernel: string;
  /** The fields of the kernel's argument struct, by name. */
  readonly arguments: Readonly<Record<string, ArgumentValue<Pointer>>>;
}

/** A kernel of a loaded module. */
export class Kernel {
  readonly record: KernelRecord;
  readonly #context: Context;
  readonly #handle: bigint;
  readonly #arguments: DataView<ArrayBuffer>;
  readonly #extra: BigUint64Array<ArrayBuffer>;
  readonly #size: BigUint64Array<ArrayBuffer>;
  readonly #config: LaunchConfig;
  #sharedLimit = defaultSharedBytes;

  constructor(context: Context, handle: bigint, record: KernelRecord) {
    this.#context = context;
    this.#handle = handle;
    this.record = record;
    this.#config = new LaunchConfig(context, record.waits);
    // One buffer serves every launch, because the driver copies it before cuLaunchKernelEx returns.
    const bytes = record.argumentsOffset + record.argumentsBytes;
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
   * @throws {TypeError} If an argument is missing, unknown or of another type than the kernel's.
   * @throws {RangeError} If a number does not fit the kernel's type.
   * @throws {CudaError} If the driver refuses the launch.
   */
  launch(stream: Stream, { arguments: values, ...grid }: Omit<KernelLaunch, "kernel">): void {
    const { name, fields, argumentsOffset } = this.record;
    for (const field of fields) {
      const value = values[field.name];
      if (value === undefined) throw new TypeError(`Cannot launch ${name}: the argument ${field.name} is missing`);
      if (!this.#write(field, argumentsOffset + field.offset, value)) {
        throw new (typeof value === "number" ? RangeError : TypeError)(
          `Cannot launch ${name}: the argument ${field.name} must be ${expected[field.type]}, got ${
            Deno.inspect(value)
          }`,
        );
      }
    }
    const names = Object.keys(values);
    if (names.length !== fields.length) {
      const surplus = names.find((name) => !fields.some((field) => field.name === name));
      throw new TypeError(`Cannot launch ${name}: it does not have an argument ${surplus}`);
    }
    this.#allowShared(grid.sharedBytes);
    this.#context.call(
      "cuLaunchKernelEx",
      this.#config.write(grid, stream.handle),
      this.#handle,
      null,
      this.#extra,
    );
  }

  /** Writes an argument. Returns whether the value is of the field's type. */
  #write({ type }: ArgumentField, offset: number, value: ArgumentValue): boolean {
    const view = this.#arguments;
    if (type === "pointer") {
      if (typeof value !== "bigint" && value !== null) return false;
      view.setBigUint64(offset, value ?? 0n, true);
    } else if (type === "tensorMap") {
      if (typeof value !== "object" || value === null) return false;
      const map = encodeTensorMap(this.#context, value);
      new Uint8Array(view.buffer, offset, map.length).set(map);
    } else {
      if (typeof value !== "number") return false;
      if (type === "float") view.setFloat32(offset, value, true);
      else if (type === "int" && value === (value | 0)) view.setInt32(offset, value, true);
      else if (type === "int64" && Number.isSafeInteger(value)) view.setBigInt64(offset, BigInt(value), true);
      else return false;
    }
    return true;
  }

  #allowShared(bytes: number): void {
    if (bytes <= this.#sharedLimit) return;
    this.#context.call("cuFuncSetAttribute", this.#handle, maxDynamicSharedSizeBytes, bytes);
    this.#sharedLimit = bytes;
  }
}

const expected: Readonly<Record<ArgumentField["type"], string>> = {
  pointer: "a device pointer (8 bytes)",
  int: "a 32-bit integer",
  int64: "a 64-bit integer",
  float: "a number",
  tensorMap: "a tensor map (128 bytes)",
};
