// Checks that the contracts of all functions share. Each throws an error that names the argument.
import { describeValue, type DType, floatDTypes, formatShape, type Tensor } from "../tensor/tensor.ts";

export { expectObject } from "../tensor/tensor.ts";

/** The dtype and the shape of a tensor, on the host or on a backend. */
export type TensorSpec = Pick<Tensor, "dtype" | "shape">;

/**
 * Checks that a value has a dtype and a shape, as tensors do.
 *
 * @throws {TypeError} If it does not.
 */
export function expectSpec(name: string, value: TensorSpec | undefined): asserts value is TensorSpec {
  if (typeof value === "object" && value !== null && Array.isArray(value.shape)) return;
  throw new TypeError(`${name} must be a tensor, got ${describeValue(value)}`);
}

/**
 * Checks a tensor's number of dimensions.
 *
 * @param symbols The names of the dimensions, for the message.
 * @returns The size of each dimension.
 * @throws {RangeError} If the number differs.
 */
export function expectRank(
  name: string,
  { shape }: Pick<TensorSpec, "shape">,
  symbols: readonly string[],
): readonly number[] {
  if (shape.length === symbols.length) return shape;
  throw new RangeError(`${name} must have shape [${symbols.join(", ")}], got ${formatShape(shape)}`);
}

/**
 * Checks a tensor's shape against the one that the other tensors call for.
 *
 * @throws {RangeError} If it differs.
 */
export function expectShape(name: string, { shape }: Pick<TensorSpec, "shape">, expected: readonly number[]): void {
  if (shape.length === expected.length && shape.every((size, i) => size === expected[i])) return;
  throw new RangeError(`${name} must have shape ${formatShape(expected)} to match the rest, got ${formatShape(shape)}`);
}

/**
 * Checks a tensor's dtype.
 *
 * @param reason Where the expected dtype comes from, for the message.
 * @throws {TypeError} If it differs.
 */
export function expectDType(name: string, { dtype }: Pick<TensorSpec, "dtype">, expected: DType, reason = ""): void {
  if (dtype === expected) return;
  throw new TypeError(`${name} must be of dtype ${expected}${reason}, got ${describeDType(dtype)}`);
}

/**
 * Checks that a dtype is one that the kernels compute in.
 *
 * @throws {TypeError} If it is not.
 */
export function expectFloat(name: string, dtype: DType): void {
  if (floatDTypes.includes(dtype)) return;
  throw new TypeError(`${name} must be of dtype ${floatDTypes.join(", ")}, got ${describeDType(dtype)}`);
}

/**
 * Checks that a number is a positive integer.
 *
 * @throws {RangeError} If it is not.
 */
export function expectPositiveInteger(name: string, value: number): void {
  if (Number.isSafeInteger(value) && value >= 1) return;
  throw new RangeError(`${name} must be an integer of at least 1, got ${describeValue(value)}`);
}

/**
 * Checks that a value is one of a few strings.
 *
 * @throws {RangeError} If it is not.
 */
export function expectOneOf(name: string, value: unknown, expected: readonly string[]): void {
  if (typeof value === "string" && expected.includes(value)) return;
  const list = expected.map((name) => `"${name}"`);
  throw new RangeError(
    `${name} must be ${list.slice(0, -1).join(", ")} or ${list.at(-1)}, got ${describeValue(value)}`,
  );
}

/**
 * Checks that a value is a boolean.
 *
 * @throws {TypeError} If it is not.
 */
export function expectBoolean(name: string, value: unknown): void {
  if (typeof value === "boolean") return;
  throw new TypeError(`${name} must be true or false, got ${describeValue(value)}`);
}

/**
 * Checks that a value is a function.
 *
 * @throws {TypeError} If it is not.
 */
export function expectFunction(name: string, value: unknown): void {
  if (typeof value === "function") return;
  throw new TypeError(`${name} must be a function, got ${describeValue(value)}`);
}

function describeDType(dtype: DType): string {
  return typeof dtype === "string" ? dtype : describeValue(dtype);
}
