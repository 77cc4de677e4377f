// Tensor maps, which describe to Hopper's copy engine a tensor and the boxes in which it is copied to shared memory.
import { bytesPerElement, type DType } from "../../tensor/tensor.ts";
import type { Context } from "./context.ts";

/** CU_TENSOR_MAP_DATA_TYPE_FLOAT16 and the others. */
const dataTypes: Readonly<Record<DType, number>> = { f16: 6, bf16: 9, f32: 7, i32: 3, u8: 0 };

/** CU_TENSOR_MAP_SWIZZLE_NONE and the others, by the bytes within which they swizzle. */
const swizzles = { 0: 0, 32: 1, 64: 2, 128: 3 } as const;

const noInterleave = 0, promoteTo128Bytes = 2, fillWithZeros = 0; // CU_TENSOR_MAP_…
const mapAlignment = 64;

const mapBytes = 128;

/** The boxes in which a tensor is copied. The innermost dimension comes first. */
export interface TensorBoxes {
  readonly dtype: DType;
  /** Elements along each of 1 to 5 dimensions, up to 2³². */
  readonly sizes: readonly number[];
  /** Strides in bytes of every dimension except the innermost, multiples of 16 below 2⁴⁰. */
  readonly strides: readonly number[];
  /** Elements of a box along each dimension, up to 256. Along the innermost, whole chunks of 16 bytes. */
  readonly box: readonly number[];
  /** Bytes within which 16-byte chunks are swizzled, 0 for none. The box's innermost rows must not be longer. */
  readonly swizzle: keyof typeof swizzles;
}

/** Describes a tensor map. */
export interface TensorMapOptions<Pointer = bigint> extends TensorBoxes {
  /** Device pointer to the first element, a multiple of 16. */
  readonly pointer: Pointer;
}

/**
 * Encodes a tensor map.
 *
 * @returns The 128 bytes of a CUtensorMap.
 * @throws {RangeError} If an option violates the driver's rules.
 * @throws {CudaError} If the driver refuses it, for example because the GPU is older than Hopper.
 */
export function encodeTensorMap(context: Context, options: TensorMapOptions): Uint8Array<ArrayBuffer> {
  check(options);
  const { dtype, pointer, sizes, strides, box, swizzle } = options;
  const memory = new Uint8Array(new ArrayBuffer(mapBytes + mapAlignment));
  const misalignment = Number(context.driver.addressOf(memory) % BigInt(mapAlignment));
  const map = memory.subarray(mapAlignment - misalignment, mapAlignment - misalignment + mapBytes);
  context.call(
    "cuTensorMapEncodeTiled",
    map,
    dataTypes[dtype],
    sizes.length,
    pointer,
    BigUint64Array.from(sizes, BigInt),
    BigUint64Array.from(strides, BigInt),
    Uint32Array.from(box),
    new Uint32Array(sizes.length).fill(1),
    noInterleave,
    swizzles[swizzle],
    promoteTo128Bytes,
    fillWithZeros,
  );
  return map;
}

function check({ dtype, pointer, sizes, strides, box, swizzle }: TensorMapOptions): void {
  const expect = (valid: boolean, name: string, expected: string, value: unknown) => {
    if (!valid) throw new RangeError(`${name} of a tensor map must be ${expected}, got ${Deno.inspect(value)}`);
  };
  const whole = (values: readonly number[], count: number, from: number, to: number, multiple = 1) =>
    values.length === count &&
    values.every((value) => Number.isInteger(value) && value >= from && value <= to && value % multiple === 0);

  const rank = sizes.length;
  expect(pointer > 0n && pointer % 16n === 0n, "pointer", "a device pointer that is a multiple of 16", pointer);
  expect(rank >= 1 && rank <= 5 && whole(sizes, rank, 1, 2 ** 32), "sizes", "1 to 5 integers from 1 to 2^32", sizes);
  expect(
    whole(strides, rank - 1, 0, 2 ** 40 - 1, 16),
    "strides",
    `${rank - 1} multiples of 16 from 0 to 2^40 - 1`,
    strides,
  );
  expect(whole(box, rank, 1, 256), "box", `${rank} integers from 1 to 256`, box);
  expect(Object.hasOwn(swizzles, swizzle), "swizzle", "0, 32, 64 or 128", swizzle);
  const chunk = 16 / bytesPerElement(dtype), longest = swizzle ? swizzle / bytesPerElement(dtype) : 256;
  expect(
    box[0]! % chunk === 0 && box[0]! <= longest,
    "box[0]",
    `a multiple of ${chunk} elements up to ${longest}`,
    box[0],
  );
}
