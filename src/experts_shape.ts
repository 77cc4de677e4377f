// The contract of `experts`: what fits together, and how much work it is. Everything is checked here, once, before any
// backend is called.
import type { ExpertsInputs, ExpertsOptions } from "./experts.ts";
import { checkTensor, describeValue, formatShape, type Tensor } from "./tensor.ts";

/** The sizes of an {@linkcode experts} call. */
export interface ExpertsShape {
  /** T. */
  readonly tokens: number;
  /** H. */
  readonly hidden: number;
  /** I. */
  readonly intermediate: number;
  /** E. */
  readonly experts: number;
  /** K. */
  readonly topK: number;
  /** The most assignments an expert keeps; infinite where nothing is dropped. */
  readonly capacity: number;
  /** Whether the routing weights are [T, E] rather than [T, K]. */
  readonly denseWeights: boolean;
}

/** What of a tensor its shape and dtype say. */
type Described = Pick<Tensor, "dtype" | "shape">;

/** The names of the op's tensors. */
export const inputNames = [
  "hiddenStates",
  "routerIndices",
  "routingWeights",
  "gateUpProj",
  "gateUpProjBias",
  "downProj",
  "downProjBias",
] as const satisfies (keyof ExpertsInputs)[];

const optionalInputs: ReadonlySet<string> = new Set(["gateUpProjBias", "downProjBias"]);

/** Applies a function to each tensor that is there. */
export function mapInputs<From, To>(inputs: ExpertsInputs<From>, change: (tensor: From) => To): ExpertsInputs<To> {
  const present = inputNames.filter((name) => inputs[name] !== undefined);
  return Object.fromEntries(present.map((name) => [name, change(inputs[name]!)])) as unknown as ExpertsInputs<To>;
}

/**
 * Checks host tensors and options against the op's contract.
 *
 * @returns The sizes.
 * @throws {TypeError} If a tensor is missing, malformed or of another dtype.
 * @throws {RangeError} If a shape, an index or an option is out of range.
 */
export function checkExperts(inputs: ExpertsInputs, options: ExpertsOptions = {}): ExpertsShape {
  if (typeof inputs !== "object" || inputs === null) {
    throw new TypeError(`inputs must be an object of tensors, got ${describeValue(inputs)}`);
  }
  for (const name of inputNames) {
    if (inputs[name] !== undefined || !optionalInputs.has(name)) checkTensor(name, inputs[name]!);
  }
  const shape = expertsShape(inputs, options);
  checkIndices(inputs.routerIndices.data, shape);
  return shape;
}

/** Derives the sizes from the tensors' shapes and checks that all agree, dtypes and options too. Looks at no element. */
export function expertsShape(inputs: ExpertsInputs<Described>, options: ExpertsOptions = {}): ExpertsShape {
  for (const name of inputNames) {
    const expected = name === "routerIndices" ? "i32" : "f16";
    const dtype = inputs[name]?.dtype ?? expected;
    if (dtype !== expected) throw new TypeError(`${name} must be of dtype ${expected}, got ${dtype}`);
  }
  const [tokens, hidden] = dimensions("hiddenStates", inputs, ["T", "H"]);
  const [, topK] = dimensions("routerIndices", inputs, ["T", "K"]);
  const [experts, intermediate] = dimensions("downProj", inputs, ["E", "I", "H"]);
  expectShape("routerIndices", inputs, [tokens, topK]);
  expectShape("gateUpProj", inputs, [experts, hidden, 2 * intermediate]);
  expectShape("gateUpProjBias", inputs, [experts, 2 * intermediate]);
  expectShape("downProj", inputs, [experts, intermediate, hidden]);
  expectShape("downProjBias", inputs, [experts, hidden]);

  const { expertCapacity = Infinity, routingWeightsLayout = "top-k" } = options;
  if (expertCapacity !== Infinity && !(Number.isSafeInteger(expertCapacity) && expertCapacity >= 1)) {
    throw new RangeError(
      `expertCapacity must be an integer of at least 1, or undefined, got ${describeValue(expertCapacity)}`,
    );
  }
  if (routingWeightsLayout !== "top-k" && routingWeightsLayout !== "dense") {
    throw new RangeError(`routingWeightsLayout must be "top-k" or "dense", got ${describeValue(routingWeightsLayout)}`);
  }
  const [, weightColumns] = dimensions("routingWeights", inputs, ["T", "K or E"]);
  const denseWeights = weightColumns === experts && (topK !== experts || routingWeightsLayout === "dense");
  expectShape("routingWeights", inputs, [tokens, denseWeights ? experts : topK]);
  return { tokens, hidden, intermediate, experts, topK, capacity: expertCapacity, denseWeights };
}

/** The sizes of a tensor whose rank the contract fixes. Only the number of tokens may be zero. */
function dimensions(name: keyof ExpertsInputs, inputs: ExpertsInputs<Described>, symbols: string[]): [number, number] {
  const { shape } = inputs[name]!;
  if (shape.length !== symbols.length) {
    throw new RangeError(`${name} must have shape ${`[${symbols.join(", ")}]`}, got ${formatShape(shape)}`);
  }
  for (const [i, symbol] of symbols.entries()) {
    if (shape[i] === 0 && symbol !== "T") {
      throw new RangeError(`${name} must have at least one element along ${symbol}, got ${formatShape(shape)}`);
    }
  }
  return [shape[0]!, shape[1]!];
}

function expectShape(name: keyof ExpertsInputs, inputs: ExpertsInputs<Described>, expected: number[]): void {
  const shape = inputs[name]?.shape ?? expected;
  if (shape.length !== expected.length || shape.some((size, i) => size !== expected[i])) {
    throw new RangeError(
      `${name} must have shape ${formatShape(expected)} to match the rest, got ${formatShape(shape)}`,
    );
  }
}

/** Checks that every index names an expert. */
export function checkIndices(indices: ArrayLike<number>, { experts, topK }: ExpertsShape): void {
  for (let i = 0; i < indices.length; i++) {
    const index = indices[i]!;
    if (index >= 0 && index < experts) continue;
    throw new RangeError(
      `routerIndices must hold integers from 0 to ${experts - 1}, got ${index} at [${Math.floor(i / topK)}, ${
        i % topK
      }]`,
    );
  }
}

/** Floating-point operations of the two matrix products over `kept` assignments: a multiplication and an addition each. */
export function expertsFlops({ hidden, intermediate }: ExpertsShape, kept: number): number {
  return kept * 6 * hidden * intermediate;
}
