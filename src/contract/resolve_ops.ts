// Checks the tensors and the options of the ops and derives their sizes. Each call is resolved once, before any work.
import {
  expectDType,
  expectFloat,
  expectObject,
  expectPositiveInteger,
  expectRank,
  expectShape,
  expectSpec,
  type TensorSpec,
} from "./checks.ts";
import type { GatherOptions, LinearOptions, RouteOptions } from "./ops.ts";
import { checkNames } from "../known_names.ts";
import { resolveRouter, type Router, type RouterOptions } from "../routing/router.ts";
import { checkDType, checkShape, describeValue, type DType, floatDTypes, formatShape } from "../tensor/tensor.ts";

/** Sizes of a matrix product: [batch, rows, depth] times [batch, depth, columns]. */
export interface ProductShape {
  readonly batch: number;
  readonly rows: number;
  readonly depth: number;
  readonly columns: number;
}

/** A tensor to make, and the value of its elements. */
export interface FullCall {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly value: number;
}

/** Resolves `full`. */
export function resolveFull(dtype: DType, shape: readonly number[], value: number): FullCall {
  checkDType("dtype", dtype);
  checkShape("shape", shape);
  if (typeof value !== "number") throw new TypeError(`value must be a number, got ${describeValue(value)}`);
  const [least, most] = dtype === "u8" ? [0, 255] : [-(2 ** 31), 2 ** 31 - 1];
  if (!floatDTypes.includes(dtype) && !(Number.isInteger(value) && value >= least && value <= most)) {
    throw new RangeError(`value must be an integer from ${least} to ${most} for ${dtype}, got ${value}`);
  }
  return { dtype, shape: [...shape], value };
}

/** [rows, depth] times the transpose of [columns, depth], plus [columns]. */
export interface LinearCall<T> {
  readonly input: T;
  readonly weight: T;
  readonly bias: T | undefined;
  /** The dtype of the output. */
  readonly dtype: DType;
  /** The sizes; the batch is 1. */
  readonly shape: ProductShape;
}

/** Resolves `linear`. */
export function resolveLinear<T extends TensorSpec>(
  input: T,
  weight: T,
  options: LinearOptions<T> = {},
): LinearCall<T> {
  expectSpecs({ input, weight });
  expectObject("options", options);
  checkNames("options", options, ["bias", "dtype"]);
  const { bias, dtype = input.dtype } = options;
  expectFloat("input", input.dtype);
  expectFloat("weight", weight.dtype);
  expectFloat("the output", dtype);
  const [rows, depth] = sizes("input", input, ["T", "D"]);
  const [columns] = sizes("weight", weight, ["N", "D"]);
  expectShape("weight", weight, [columns, depth]);
  if (bias !== undefined) {
    expectSpec("bias", bias);
    expectDType("bias", bias, weight.dtype);
    expectShape("bias", bias, [columns]);
  }
  return { input, weight, bias, dtype, shape: { batch: 1, rows, depth, columns } };
}

/** Logits, [tokens, experts], and how to route them. */
export interface RouteCall<T> {
  readonly logits: T;
  readonly correctionBias: T | undefined;
  readonly router: Router;
  /** The dtype of the routing weights. */
  readonly dtype: DType;
  readonly tokens: number;
}

/** Resolves `route`. */
export function resolveRoute<T extends TensorSpec>(
  logits: T,
  options: RouterOptions<T>,
  callOptions: RouteOptions = {},
): RouteCall<T> {
  expectSpec("logits", logits);
  expectObject("options", callOptions);
  checkNames("options", callOptions, ["dtype"]);
  const { dtype = "f32" } = callOptions;
  expectFloat("logits", logits.dtype);
  expectFloat("the routing weights", dtype);
  const [tokens, experts] = sizes("logits", logits, ["T", "E"]);
  const router = resolveRouter(options, experts);
  return { logits, correctionBias: options.correctionBias, router, dtype, tokens };
}

/** `count` integers from 0 to `bins` - 1. */
export interface BinsCall<T> {
  readonly values: T;
  readonly bins: number;
  readonly count: number;
}

/** Resolves `sort` and `bincountCumsum`. */
export function resolveBins<T extends TensorSpec>(values: T, bins: number): BinsCall<T> {
  expectSpec("values", values);
  expectDType("values", values, "i32");
  expectPositiveInteger("bins", bins);
  const [count] = sizes("values", values, ["N"]);
  return { values, bins, count };
}

/** Rows to select: `rows` of `width` elements. */
export interface SelectCall<T> {
  readonly source: T;
  readonly indices: T;
  readonly rows: number;
  readonly width: number;
}

/** Resolves `indexSelect`. */
export function resolveIndexSelect<T extends TensorSpec>(source: T, indices: T): SelectCall<T> {
  expectSpecs({ source, indices });
  expectDType("indices", indices, "i32");
  const [rows] = sizes("indices", indices, ["M"]);
  if (source.shape.length === 0) throw new RangeError("source must have at least one dimension, got shape []");
  return { source, indices, rows, width: source.shape.slice(1).reduce((product, size) => product * size, 1) };
}

/** Sizes of `bins` bins of `capacity` rows of `hidden` elements, for `assignments` assignments, `topK` a token. */
export interface BinShape {
  readonly tokens: number;
  readonly topK: number;
  readonly assignments: number;
  readonly bins: number;
  readonly capacity: number;
  readonly hidden: number;
}

/** Tokens to gather into bins. */
export interface GatherCall<T> {
  readonly source: T;
  readonly indices: T;
  readonly cumsum: T;
  readonly shape: BinShape;
}

/** Resolves `gather`. The options may name a backend too. */
export function resolveGather<T extends TensorSpec>(
  source: T,
  indices: T,
  cumsum: T,
  options: GatherOptions,
): GatherCall<T> {
  expectSpecs({ source, indices, cumsum });
  expectObject("options", options);
  checkNames("options", options, ["capacity", "topK", "backend"]);
  const { capacity, topK = 1 } = options;
  expectFloat("source", source.dtype);
  expectPositiveInteger("capacity", capacity);
  expectPositiveInteger("topK", topK);
  const [tokens, hidden] = sizes("source", source, ["T", "H"]);
  const { assignments, bins } = binned(indices, cumsum);
  if (assignments !== tokens * topK) {
    throw new RangeError(`indices must have shape [${tokens * topK}], T · topK, got ${formatShape(indices.shape)}`);
  }
  return { source, indices, cumsum, shape: { tokens, topK, assignments, bins, capacity, hidden } };
}

/** Rows of bins to sum up for their tokens. */
export interface ScatterCall<T> extends GatherCall<T> {
  readonly weights: T;
}

/** Resolves `scatter`. */
export function resolveScatter<T extends TensorSpec>(source: T, indices: T, cumsum: T, weights: T): ScatterCall<T> {
  expectSpecs({ source, indices, cumsum, weights });
  expectFloat("source", source.dtype);
  expectDType("weights", weights, source.dtype);
  const [bins, capacity, hidden] = sizes("source", source, ["E", "C", "H"]);
  const [tokens, topK] = sizes("weights", weights, ["T", "K"]);
  const { assignments } = binned(indices, cumsum);
  expectShape("cumsum", cumsum, [bins]);
  expectShape("indices", indices, [tokens * topK]);
  return { source, indices, cumsum, weights, shape: { tokens, topK, assignments, bins, capacity, hidden } };
}

/** Two batches of matrices to multiply. */
export interface MatmulCall<T> {
  readonly a: T;
  readonly b: T;
  readonly shape: ProductShape;
}

/** Resolves `batchedMatmul`. */
export function resolveBatchedMatmul<T extends TensorSpec>(a: T, b: T): MatmulCall<T> {
  expectSpecs({ a, b });
  expectFloat("a", a.dtype);
  expectDType("b", b, a.dtype);
  const [batch, rows, depth] = sizes("a", a, ["B", "M", "D"]);
  const [, , columns] = sizes("b", b, ["B", "D", "N"]);
  expectShape("b", b, [batch, depth, columns]);
  return { a, b, shape: { batch, rows, depth, columns } };
}

function binned(indices: TensorSpec, cumsum: TensorSpec): { assignments: number; bins: number } {
  expectDType("indices", indices, "i32");
  expectDType("cumsum", cumsum, "i32");
  const [assignments] = sizes("indices", indices, ["N"]);
  const [bins] = sizes("cumsum", cumsum, ["E"]);
  return { assignments, bins };
}

function expectSpecs(tensors: Readonly<Record<string, TensorSpec>>): void {
  for (const [name, tensor] of Object.entries(tensors)) expectSpec(name, tensor);
}

function sizes(name: string, tensor: TensorSpec, symbols: readonly string[]): readonly [number, number, number] {
  const [first = 1, second = 1, third = 1] = expectRank(name, tensor, symbols);
  return [first, second, third];
}
