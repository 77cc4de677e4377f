// The tensors and calls of a lifetime program, and what is right for them.
import { assert, assertEquals } from "@std/assert";
import type { BackendTensor, Tensor } from "../mod.ts";

/** A tensor of the backend and its right content; undefined if a failed transfer left it unspecified. */
export interface Value {
  readonly tensor: BackendTensor;
  content: Tensor | undefined;
  /** The number of transfers and calls that use it. */
  users: number;
  isDisposed: boolean;
}

/** A call of the backend, and its right results. */
export interface Call {
  readonly used: readonly Value[];
  readonly run: () => Promise<readonly BackendTensor[]>;
  readonly expected: () => readonly Tensor[];
}

/** The error that callbacks throw. */
export class CallbackError extends Error {}

/** Throws as a callback of the user does. */
export function fail(): never {
  throw new CallbackError("a callback threw");
}

/** Returns whether a tensor is an f32 matrix of a shape. */
export function isMatrix({ dtype, shape }: Tensor, rows: number, columns: number): boolean {
  return dtype === "f32" && shape.length === 2 && shape[0] === rows && shape[1] === columns;
}

/** Returns the largest magnitude of the elements. */
export function magnitude({ data }: Tensor): number {
  let maximum = 0;
  for (const value of data) maximum = Math.max(maximum, Math.abs(value));
  return maximum;
}

/** Asserts that two tensors have the same elements. */
export function assertSame(actual: Tensor, expected: Tensor): void {
  assertEquals([actual.dtype, actual.shape.join()], [expected.dtype, expected.shape.join()]);
  const at = actual.data.findIndex((value, i) => value !== expected.data[i]);
  assert(at < 0, `element ${at} of [${actual.shape}] must be ${expected.data[at]}, got ${actual.data[at]}`);
}
