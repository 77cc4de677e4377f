/**
 * Tensors in host memory: a dtype, a shape and a typed array in row-major order.
 *
 * @module
 */
import { fromBfloat16, toBfloat16 } from "./bfloat16.ts";
import { adviseHugePages } from "./huge_pages.ts";
import { describeValue } from "../text.ts";

export { describeValue };

/** The element types a {@linkcode Tensor} can have. */
export type DType = "f16" | "bf16" | "f32" | "i32" | "u8";

/** The typed arrays of a {@linkcode Tensor}'s elements. bf16 is stored as bit patterns, in a `Uint16Array`. */
export type TensorData = Float16Array | Uint16Array | Float32Array | Int32Array | Uint8Array;

const arrayTypes = {
  f16: Float16Array,
  bf16: Uint16Array,
  f32: Float32Array,
  i32: Int32Array,
  u8: Uint8Array,
} as const satisfies Record<DType, unknown>;

const dtypes = Object.keys(arrayTypes) as DType[];

/** The dtypes that the kernels compute in. */
export const floatDTypes: readonly DType[] = ["f16", "bf16", "f32"];

/** An array of numbers with a shape, in row-major order. */
export interface Tensor {
  /** The element type. */
  readonly dtype: DType;
  /** The size of each dimension, outermost first. */
  readonly shape: readonly number[];
  /** The elements. The CPU backend does not copy them if they are in shared memory. */
  readonly data: TensorData;
}

/** Makes the typed array of a dtype over a part of some memory. The offset is in bytes, the length in elements. */
export function viewOf(dtype: DType, memory: SharedArrayBuffer, offset: number, length: number): TensorData {
  const type: new (memory: SharedArrayBuffer, offset: number, length: number) => TensorData = arrayTypes[dtype];
  return new type(memory, offset, length);
}

/** Returns the number of bytes of one element. */
export function bytesPerElement(dtype: DType): number {
  return arrayTypes[dtype].BYTES_PER_ELEMENT;
}

/** Counts the elements of a tensor of the given shape. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((count, size) => count * size, 1);
}

/** Writes a shape: `[16, 4]`. */
export function formatShape(shape: readonly number[]): string {
  return `[${shape.join(", ")}]`;
}

/**
 * Makes a tensor from a typed array, without a copy.
 *
 * @param data The elements in row-major order: `Float16Array` (f16), `Float32Array` (f32), `Int32Array` (i32),
 * `Uint8Array` (u8), or, with `dtype: "bf16"`, a `Uint16Array` of bit patterns. Use {@linkcode convert} to make bf16 from numbers.
 * @param shape The size of each dimension, outermost first. Defaults to one dimension of `data.length`.
 * @param dtype The element type. Only `"bf16"` must be given; the others follow from `data`.
 * @returns The tensor. It shares its memory with `data`.
 * @throws {TypeError} If `data` is not such a typed array, or does not match `dtype`.
 * @throws {RangeError} If the number of elements of `shape` is not `data.length`.
 *
 * @example Usage
 * ```ts
 * import { tensor } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * const weights = tensor(new Float16Array([0.75, 0.25, 0.5, 0.5]), [2, 2]);
 * assertEquals(weights.dtype, "f16");
 * ```
 */
export function tensor(data: TensorData, shape: readonly number[] = [data?.length], dtype?: DType): Tensor {
  const found = dtype ?? dtypes.find((name) => data instanceof arrayTypes[name]);
  if (!found) {
    throw new TypeError(
      `Cannot make a tensor: data must be a Float16Array, Float32Array, Int32Array or Uint8Array, got ${
        describeValue(data)
      }`,
    );
  }
  if (found === "bf16" && !dtype) {
    throw new TypeError('Cannot make a tensor of a Uint16Array: its dtype must be given as "bf16", got undefined');
  }
  checkShape("shape", shape);
  const tensor = { dtype: found, shape: Object.freeze([...shape]), data };
  checkTensor("data", tensor);
  return tensor;
}

/**
 * Converts a tensor to another dtype. Each number is rounded to the nearest one of the dtype, ties to even.
 *
 * @param source The tensor to convert, f16, bf16 or f32. It does not change.
 * @param dtype The element type to convert to: `"f16"`, `"bf16"` or `"f32"`.
 * @returns A new tensor in shared memory, as {@linkcode zeros} makes it.
 * @throws {TypeError} If `source` is not a well-formed tensor, or one of the dtypes is not supported.
 *
 * @example Usage
 * ```ts
 * import { convert, tensor } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * const brief = convert(tensor(new Float32Array([1, 1.2])), "bf16");
 * assertEquals(brief.data, new Uint16Array([0x3f80, 0x3f9a]));
 * assertEquals(convert(brief, "f32").data, new Float32Array([1, 1.203125]));
 * ```
 */
export function convert(source: Tensor, dtype: DType): Tensor {
  checkTensor("source", source);
  for (const [name, value] of Object.entries({ source: source.dtype, target: dtype })) {
    if (floatDTypes.includes(value)) continue;
    throw new TypeError(
      `Cannot convert: the ${name} must be one of ${floatDTypes.join(", ")}, got ${describeValue(value)}`,
    );
  }
  const target = zeros(dtype, source.shape);
  if (source.dtype === dtype) target.data.set(source.data);
  else if (source.dtype === "bf16") fromBfloat16(source.data as Uint16Array, target.data);
  else if (dtype === "bf16") toBfloat16(source.data, target.data as Uint16Array);
  else target.data.set(source.data);
  return target;
}

/**
 * Makes a tensor of zeros in shared memory, which the CPU backend reads and writes without a copy.
 *
 * @param dtype The element type.
 * @param shape The size of each dimension, outermost first.
 * @returns The tensor.
 * @throws {TypeError} If `dtype` is unknown.
 * @throws {RangeError} If a size is not a non-negative integer, or the allocation fails.
 *
 * @example Usage
 * ```ts
 * import { zeros } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(zeros("f16", [2, 3]).data.length, 6);
 * ```
 */
export function zeros(dtype: DType, shape: readonly number[]): Tensor {
  checkDType("dtype", dtype);
  checkShape("shape", shape);
  const memory = sharedMemory(elementCount(shape) * bytesPerElement(dtype), `${formatShape(shape)} of ${dtype}`);
  return { dtype, shape: Object.freeze([...shape]), data: viewOf(dtype, memory, 0, elementCount(shape)) };
}

function sharedMemory(bytes: number, purpose: string): SharedArrayBuffer {
  try {
    const memory = new SharedArrayBuffer(bytes);
    adviseHugePages(new Uint8Array(memory));
    return memory;
  } catch (cause) {
    throw new RangeError(`Cannot allocate ${purpose}: out of memory for ${bytes} bytes`, { cause });
  }
}

/**
 * Checks that a value is a well-formed tensor: a known dtype, an array type that matches it, as many elements as the shape
 * has, and memory that is not detached.
 *
 * @param name The name of the value. Error messages begin with it.
 * @param value The value to check.
 * @throws {TypeError} If it is not a tensor, its array does not match its dtype, or its buffer is detached.
 * @throws {RangeError} If its shape does not match its data.
 */
export function checkTensor(name: string, value: Tensor | undefined): asserts value is Tensor {
  if (typeof value !== "object" || value === null) {
    throw new TypeError(`${name} must be a tensor, got ${describeValue(value)}`);
  }
  const { dtype, shape, data } = value;
  checkDType(`The dtype of ${name}`, dtype);
  if (!(data instanceof arrayTypes[dtype])) {
    throw new TypeError(`${name} of dtype ${dtype} must hold a ${arrayTypes[dtype].name}, got ${describeValue(data)}`);
  }
  if (data.buffer instanceof ArrayBuffer && data.buffer.detached) {
    throw new TypeError(`${name} must have memory: its buffer is detached`);
  }
  checkShape(`${name}.shape`, shape);
  if (elementCount(shape) !== data.length) {
    throw new RangeError(
      `${name} of shape ${formatShape(shape)} must hold ${elementCount(shape)} elements, got ${data.length}`,
    );
  }
}

/**
 * Checks that a value is an object.
 *
 * @throws {TypeError} If it is not.
 */
export function expectObject(name: string, value: unknown): void {
  if (typeof value === "object" && value !== null) return;
  throw new TypeError(`${name} must be an object, got ${describeValue(value)}`);
}

/** Checks that a value is a dtype. Errors begin with `name`. */
export function checkDType(name: string, dtype: DType): void {
  if (dtypes.includes(dtype)) return;
  throw new TypeError(`${name} must be one of ${dtypes.join(", ")}, got ${describeValue(dtype)}`);
}

/** Checks that a value is a shape. Errors begin with `name`. */
export function checkShape(name: string, shape: readonly number[]): void {
  if (!Array.isArray(shape)) throw new TypeError(`${name} must be an array of sizes, got ${describeValue(shape)}`);
  for (const size of shape) {
    if (!Number.isSafeInteger(size) || size < 0) {
      throw new RangeError(`${name} must hold non-negative integers, got ${describeValue(size)}`);
    }
  }
}
