import {
  checkTensor,
  convert,
  describeValue,
  expectObject,
  formatShape,
  type Tensor,
  zeros,
} from "../tensor/tensor.ts";
import type { Routing } from "./routing.ts";

/**
 * Makes dense routing weights: one for each of E experts, zero for all but the token's K experts.
 *
 * @param routing The result of {@linkcode route}. The weights may have been converted to f16 or bf16.
 * @param experts E.
 * @returns [T, E], f32.
 * @throws {TypeError} If the indices are not of dtype i32, or the weights not of a float dtype.
 * @throws {RangeError} If an index is out of range, the shapes differ, or `experts` is not a non-negative integer.
 *
 * @example Usage
 * ```ts
 * import { denseWeights, route, tensor } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * const routing = route(tensor(new Float32Array([0, 50, 1]), [1, 3]), 1);
 * assertEquals([...denseWeights(routing, 3).data], [0, 1, 0]);
 * ```
 */
export function denseWeights(routing: Routing, experts: number): Tensor {
  expectObject("routing", routing);
  const { routerIndices, routerWeights } = routing;
  const [tokens, topK] = indexMatrix(routerIndices);
  checkTensor("routerWeights", routerWeights);
  if (formatShape(routerWeights.shape) !== formatShape(routerIndices.shape)) {
    throw new RangeError(
      `routerWeights must have the shape of routerIndices, ${formatShape(routerIndices.shape)}, got ${
        formatShape(routerWeights.shape)
      }`,
    );
  }
  expectExperts(experts);
  const { data } = convert(routerWeights, "f32");
  const dense = zeros("f32", [tokens, experts]);
  for (let i = 0; i < tokens * topK; i++) {
    const e = expertAt(routerIndices, i, experts);
    dense.data[Math.floor(i / topK) * experts + e] = data[i]!;
  }
  return dense;
}

/**
 * Counts the assignments of each expert, without a capacity.
 *
 * @param routerIndices [T, K], i32.
 * @param experts E.
 * @returns E counts; their sum is T · K.
 * @throws {TypeError} If the indices are not of dtype i32.
 * @throws {RangeError} If an index is out of range, or `experts` is not a non-negative integer.
 *
 * @example Usage
 * ```ts
 * import { tensor, tokensPerExpert } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([...tokensPerExpert(tensor(new Int32Array([2, 0, 2, 1]), [2, 2]), 3)], [1, 1, 2]);
 * ```
 */
export function tokensPerExpert(routerIndices: Tensor, experts: number): Int32Array {
  indexMatrix(routerIndices);
  expectExperts(experts);
  const counts = new Int32Array(experts);
  for (let i = 0; i < routerIndices.data.length; i++) counts[expertAt(routerIndices, i, experts)]! += 1;
  return counts;
}

/**
 * Counts the assignments that are kept with a capacity.
 *
 * @param counts The assignments of each expert, from {@linkcode tokensPerExpert}.
 * @param capacity The most assignments that an expert keeps. By default, all.
 * @returns The number of kept assignments of all experts.
 * @throws {TypeError} If the counts cannot be iterated.
 * @throws {RangeError} If the capacity is negative or not a number, or a count is not a non-negative integer.
 *
 * @example Usage
 * ```ts
 * import { keptAssignments } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(keptAssignments([5, 1, 9], 4), 4 + 1 + 4);
 * ```
 */
export function keptAssignments(counts: Iterable<number>, capacity = Infinity): number {
  if (!(typeof capacity === "number" && capacity >= 0)) {
    throw new RangeError(`capacity must be a number of at least 0, got ${describeValue(capacity)}`);
  }
  if (typeof counts?.[Symbol.iterator] !== "function") {
    throw new TypeError(`counts must be an iterable of numbers, got ${describeValue(counts)}`);
  }
  let kept = 0;
  for (const count of counts) {
    if (!Number.isSafeInteger(count) || count < 0) {
      throw new RangeError(`counts must hold non-negative integers, got ${describeValue(count)}`);
    }
    kept += Math.min(count, capacity);
  }
  return kept;
}

function expectExperts(experts: number): void {
  if (Number.isSafeInteger(experts) && experts >= 0) return;
  throw new RangeError(`experts must be a non-negative integer, got ${describeValue(experts)}`);
}

function indexMatrix(indices: Tensor): [number, number] {
  checkTensor("routerIndices", indices);
  if (indices.dtype !== "i32") throw new TypeError(`routerIndices must be of dtype i32, got ${indices.dtype}`);
  return matrix("routerIndices", indices);
}

function expertAt(indices: Tensor, at: number, experts: number): number {
  const index = indices.data[at]!;
  if (index >= 0 && index < experts) return index;
  throw new RangeError(`routerIndices must hold integers from 0 to ${experts - 1}, got ${index} at element ${at}`);
}

function matrix(name: string, { shape }: Tensor): [number, number] {
  if (shape.length !== 2) throw new RangeError(`${name} must be a matrix, got shape ${formatShape(shape)}`);
  return [shape[0]!, shape[1]!];
}
