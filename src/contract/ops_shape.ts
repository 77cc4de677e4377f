// What the ops refuse, and the sizes of what they take. The same for tensors on the host and on a device.
import { describeValue, type DType, floatDTypes, formatShape, type Tensor } from "../tensor/tensor.ts";
import type { GatherOptions } from "./ops.ts";

/** What of a tensor its shape and dtype say. */
type Described = Pick<Tensor, "dtype" | "shape">;

/** Sizes of a matrix product: [batch, rows, depth] times [batch, depth, columns]. */
export interface ProductShape {
  readonly batch: number;
  readonly rows: number;
  readonly depth: number;
  readonly columns: number;
}

/** Checks what `linear` gets. The batch is 1. */
export function linearShape(
  input: Described,
  weight: Described,
  { bias, dtype = input.dtype }: { bias?: Described | undefined; dtype?: DType | undefined } = {},
): ProductShape & { dtype: DType } {
  checkFloat("input", input);
  checkFloat("weight", weight);
  checkFloat("the output", { dtype });
  const [rows, depth] = sizes("input", input, ["T", "D"]);
  const [columns] = sizes("weight", weight, ["N", "D"]);
  expectShape("weight", weight, [columns!, depth!]);
  if (bias) {
    expectDType("bias", bias, weight.dtype);
    expectShape("bias", bias, [columns!]);
  }
  return { batch: 1, rows: rows!, depth: depth!, columns: columns!, dtype };
}

/** Checks the logits that `route` gets. */
export function logitsShape(logits: Described): { tokens: number; experts: number } {
  checkFloat("logits", logits);
  const [tokens, experts] = sizes("logits", logits, ["T", "E"]);
  return { tokens: tokens!, experts: experts! };
}

/** Checks what `batchedMatmul` gets. */
export function batchedMatmulShape(a: Described, b: Described): ProductShape {
  checkFloat("a", a);
  expectDType("b", b, a.dtype);
  const [batch, rows, depth] = sizes("a", a, ["B", "M", "D"]);
  const [, , columns] = sizes("b", b, ["B", "D", "N"]);
  expectShape("b", b, [batch!, depth!, columns!]);
  return { batch: batch!, rows: rows!, depth: depth!, columns: columns! };
}

/** Checks what `sort` and `bincountCumsum` get. */
export function binsShape(values: Described, bins: number): { count: number } {
  expectDType("values", values, "i32");
  checkInteger("bins", bins);
  const [count] = sizes("values", values, ["N"]);
  return { count: count! };
}

/** Checks what `indexSelect` gets. */
export function indexSelectShape(source: Described, indices: Described): { rows: number; width: number } {
  expectDType("indices", indices, "i32");
  const [rows] = sizes("indices", indices, ["M"]);
  if (source.shape.length === 0) throw new RangeError("source must have at least one dimension, got shape []");
  return { rows: rows!, width: source.shape.slice(1).reduce((product, size) => product * size, 1) };
}

/** Sizes of bins: E of C rows of H elements, for N assignments, K a token. */
export interface BinShape {
  readonly tokens: number;
  readonly topK: number;
  readonly assignments: number;
  readonly bins: number;
  readonly capacity: number;
  readonly hidden: number;
}

/** Checks what `gather` gets. */
export function gatherShape(
  source: Described,
  indices: Described,
  cumsum: Described,
  { capacity, topK = 1 }: GatherOptions,
): BinShape {
  checkFloat("source", source);
  checkInteger("capacity", capacity);
  checkInteger("topK", topK);
  const [tokens, hidden] = sizes("source", source, ["T", "H"]);
  const { assignments, bins } = binned(indices, cumsum);
  if (assignments !== tokens! * topK) {
    throw new RangeError(`indices must have shape [${tokens! * topK}], T · topK, got ${formatShape(indices.shape)}`);
  }
  return { tokens: tokens!, topK, assignments, bins, capacity, hidden: hidden! };
}

/** Checks what `scatter` gets. */
export function scatterShape(
  source: Described,
  indices: Described,
  cumsum: Described,
  weights: Described,
): BinShape {
  checkFloat("source", source);
  expectDType("weights", weights, source.dtype);
  const [bins, capacity, hidden] = sizes("source", source, ["E", "C", "H"]);
  const [tokens, topK] = sizes("weights", weights, ["T", "K"]);
  const { assignments } = binned(indices, cumsum);
  expectShape("cumsum", cumsum, [bins!]);
  expectShape("indices", indices, [tokens! * topK!]);
  return { tokens: tokens!, topK: topK!, assignments, bins: bins!, capacity: capacity!, hidden: hidden! };
}

function binned(indices: Described, cumsum: Described): { assignments: number; bins: number } {
  expectDType("indices", indices, "i32");
  expectDType("cumsum", cumsum, "i32");
  const [assignments] = sizes("indices", indices, ["N"]);
  const [bins] = sizes("cumsum", cumsum, ["E"]);
  return { assignments: assignments!, bins: bins! };
}

function sizes(name: string, { shape }: Described, symbols: readonly string[]): readonly number[] {
  if (shape.length === symbols.length) return shape;
  throw new RangeError(`${name} must have shape [${symbols.join(", ")}], got ${formatShape(shape)}`);
}

function expectShape(name: string, { shape }: Described, expected: readonly number[]): void {
  if (shape.length === expected.length && shape.every((size, i) => size === expected[i])) return;
  throw new RangeError(`${name} must have shape ${formatShape(expected)} to match the rest, got ${formatShape(shape)}`);
}

function expectDType(name: string, { dtype }: Described, expected: DType): void {
  if (dtype !== expected) throw new TypeError(`${name} must be of dtype ${expected}, got ${dtype}`);
}

function checkFloat(name: string, { dtype }: Pick<Described, "dtype">): void {
  if (floatDTypes.includes(dtype)) return;
  throw new TypeError(`${name} must be of dtype ${floatDTypes.join(", ")}, got ${dtype}`);
}

function checkInteger(name: string, value: number): void {
  if (Number.isSafeInteger(value) && value >= 1) return;
  throw new RangeError(`${name} must be an integer of at least 1, got ${describeValue(value)}`);
}
