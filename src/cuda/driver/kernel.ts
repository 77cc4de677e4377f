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

/** Finds a device pointer among those of a call. */
type Find<Call> = (call: Call) => bigint | null;

/** A kernel of a loaded module. */
export class Kernel {
  readonly record: KernelRecord;
  readonly #context: Context;
  readonly #handle: bigint;
  readonly #arguments: ArgumentBuffer;
  readonly #config: LaunchConfig;
  #sharedLimit = defaultSharedBytes;

  constructor(context: Context, handle: bigint, record: KernelRecord) {
    this.#context = context;
    this.#handle = handle;
    this.record = record;
    this.#arguments = new ArgumentBuffer(context, record);
    this.#config = new LaunchConfig(context, record.waits);
  }

  /**
   * Queues the kernel.
   *
   * @throws {TypeError} If an argument is missing, unknown or of another type than the kernel's.
   * @throws {RangeError} If a number does not fit the kernel's type.
   * @throws {CudaError} If the driver refuses the launch.
   */
  launch(stream: Stream, { arguments: values, ...grid }: Omit<KernelLaunch, "kernel">): void {
    this.#check(values);
    for (const field of this.record.fields) this.#arguments.write(field, values[field.name]);
    this.#queue(stream, grid, this.#arguments);
  }

  /**
   * Prepares launches with the same numbers and other pointers.
   *
   * @param pointerOf Returns how a call's pointer is found, by its name in the launch.
   * @returns A function that queues the kernel for a call.
   * @throws {TypeError} If an argument is missing, unknown or of another type than the kernel's.
   * @throws {RangeError} If a number does not fit the kernel's type.
   */
  prepare<Name extends string, Call>(
    { arguments: values, ...grid }: Omit<KernelLaunch<Name>, "kernel">,
    pointerOf: (name: Name) => Find<Call>,
  ): (stream: Stream, call: Call) => void {
    this.#check(values);
    const buffer = new ArgumentBuffer(this.#context, this.record);
    const pointers: [field: ArgumentField, find: Find<Call>][] = [];
    const maps: { field: ArgumentField; value: TensorMapOptions<Name>; find: Find<Call>; last: bigint | null }[] = [];
    for (const field of this.record.fields) {
      const value = values[field.name];
      if (typeof value === "string") pointers.push([field, pointerOf(value)]);
      else if (typeof value === "object" && value) {
        maps.push({ field, value, find: pointerOf(value.pointer), last: null });
      } else buffer.write(field, value);
    }
    return (stream, call) => {
      for (const [field, find] of pointers) buffer.write(field, find(call));
      for (const map of maps) {
        const pointer = map.find(call);
        if (pointer === map.last && pointer !== null) continue; // encoding a map takes longer than the rest of a launch
        buffer.write(map.field, pointer && { ...map.value, pointer });
        map.last = pointer;
      }
      this.#queue(stream, grid, buffer);
    };
  }

  /** Checks that the arguments are those of the kernel. */
  #check(values: KernelLaunch<unknown>["arguments"]): void {
    const { name, fields } = this.record;
    for (const field of fields) {
      if (values[field.name] === undefined) {
        throw new TypeError(`Cannot launch ${name}: the argument ${field.name} is missing`);
      }
    }
    const names = Object.keys(values);
    if (names.length === fields.length) return;
    const surplus = names.find((name) => !fields.some((field) => field.name === name));
    throw new TypeError(`Cannot launch ${name}: it does not have an argument ${surplus}`);
  }

  #queue(stream: Stream, grid: Grid, { extra }: ArgumentBuffer): void {
    this.#allowShared(grid.sharedBytes);
    this.#context.call("cuLaunchKernelEx", this.#config.write(grid, stream.handle), this.#handle, null, extra);
  }

  #allowShared(bytes: number): void {
    if (bytes <= this.#sharedLimit) return;
    this.#context.call("cuFuncSetAttribute", this.#handle, maxDynamicSharedSizeBytes, bytes);
    this.#sharedLimit = bytes;
  }
}

/** The packed arguments of a kernel. One buffer serves many launches: the driver copies it before cuLaunchKernelEx returns. */
class ArgumentBuffer {
  /** The last argument of cuLaunchKernelEx. */
  readonly extra: BigUint64Array<ArrayBuffer>;
  readonly #context: Context;
  readonly #record: KernelRecord;
  readonly #view: DataView<ArrayBuffer>;
  readonly #size: BigUint64Array<ArrayBuffer>;

  constructor(context: Context, record: KernelRecord) {
    this.#context = context;
    this.#record = record;
    const bytes = record.argumentsOffset + record.argumentsBytes;
    this.#view = new DataView(new ArrayBuffer(Math.max(bytes, 8)));
    this.#size = new BigUint64Array([BigInt(bytes)]);
    const { driver } = context;
    const [view, size] = [driver.addressOf(this.#view), driver.addressOf(this.#size)];
    this.extra = new BigUint64Array([bufferPointer, view, bufferSize, size, end]);
  }

  /** Writes an argument. */
  write(field: ArgumentField, value: ArgumentValue | undefined): void {
    if (this.#isWritten(field, this.#record.argumentsOffset + field.offset, value)) return;
    throw new (typeof value === "number" ? RangeError : TypeError)(
      `Cannot launch ${this.#record.name}: the argument ${field.name} must be ${expected[field.type]}, got ${
        Deno.inspect(value)
      }`,
    );
  }

  /** Writes an argument if it is of the field's type, and returns whether it is. */
  #isWritten({ type }: ArgumentField, offset: number, value: ArgumentValue | undefined): boolean {
    const view = this.#view;
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
}

const expected: Readonly<Record<ArgumentField["type"], string>> = {
  pointer: "a device pointer (8 bytes)",
  int: "a 32-bit integer",
  int64: "a 64-bit integer",
  float: "a number",
  tensorMap: "a tensor map (128 bytes)",
};
