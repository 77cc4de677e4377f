// The contract of `experts`: what fits together, and how much work it is. Everything is checked here, once, before any
// backend is called.
import type { Activation, ExpertsInputs, ExpertsOptions } from "./experts.ts";
import { checkNames } from "../known_names.ts";
import {
  bytesPerElement,
  checkTensor,
  describeValue,
  type DType,
  floatDTypes,
  formatShape,
  type Tensor,
} from "../tensor/tensor.ts";

/** What is computed, whatever the sizes: the dtype and the options, defaults filled in. */
export interface ExpertsVariant {
  readonly dtype: DType;
  readonly activation: Activation;
  readonly activationAlpha: number;
  readonly activationLimit: number;
  readonly gated: boolean;
  readonly gateUpLayout: "interleaved" | "concatenated";
  readonly weightLayout: "in-out" | "out-in";
  readonly batchInvariant: boolean;
}

/** The variant without any option. */
export const defaultVariant: ExpertsVariant = {
  dtype: "f16",
  activation: "swiglu-oai",
  activationAlpha: 1.702,
  activationLimit: 7,
  gated: true,
  gateUpLayout: "interleaved",
  weightLayout: "in-out",
  batchInvariant: false,
};

/** The activations there are. */
export const activations = ["swiglu-oai", "silu", "gelu", "gelu-tanh", "relu2"] as const satisfies Activation[];

/** The sizes and the variant of an {@linkcode experts} call. */
export interface ExpertsShape extends ExpertsVariant {
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
  /** The dtype of the routing weights: that of the rest, or f32. */
  readonly weightsDType: DType;
  /** Whether each assignment's input is multiplied by a weight. */
  readonly hasInputWeights: boolean;
  /** Whether something is added to the experts' sum. */
  readonly hasAddend: boolean;
}

/** What of a tensor its shape and dtype say. */
type Described = Pick<Tensor, "dtype" | "shape">;

/** The names of the op's tensors. */
export const inputNames = [
  "hiddenStates",
  "routerIndices",
  "routingWeights",
  "inputWeights",
  "gateUpProj",
  "gateUpProjBias",
  "downProj",
  "downProjBias",
  "addend",
  "addendWeights",
] as const satisfies (keyof ExpertsInputs)[];

const knownInputs = Object.fromEntries(inputNames.map((name) => [name, true])) as Record<keyof ExpertsInputs, true>;

/** The options that a layer's weights decide. */
export const layerOptions = {
  activation: true,
  activationAlpha: true,
  activationLimit: true,
  gated: true,
  gateUpLayout: true,
  weightLayout: true,
} as const satisfies Partial<Record<keyof ExpertsOptions, true>>;

const knownOptions: Readonly<Record<keyof ExpertsOptions | "backend", true>> = {
  ...layerOptions,
  batchInvariant: true,
  expertCapacity: true,
  routingWeightsLayout: true,
  onProgress: true,
  backend: true,
};

const optionalInputs: ReadonlySet<string> = new Set([
  "inputWeights",
  "gateUpProjBias",
  "downProjBias",
  "addend",
  "addendWeights",
]);

/** Applies a function to each tensor that is there. */
export function mapInputs<From, To>(inputs: ExpertsInputs<From>, change: (tensor: From) => To): ExpertsInputs<To> {
  const present = inputNames.filter((name) => inputs[name] !== undefined);
  return Object.fromEntries(present.map((name) => [name, change(inputs[name]!)])) as unknown as ExpertsInputs<To>;
}

/**
 * Checks host tensors and options against the op's contract.
 *
 * @returns The sizes.
 * @throws {TypeError} If a tensor is missing, malformed or of another dtype, or a name is none of an input or option.
 * @throws {RangeError} If a shape, an index or an option is out of range.
 */
export function checkExperts(inputs: ExpertsInputs, options: ExpertsOptions = {}): ExpertsShape {
  if (typeof inputs !== "object" || inputs === null) {
    throw new TypeError(`inputs must be an object of tensors, got ${describeValue(inputs)}`);
  }
  if (typeof options !== "object" || options === null) {
    throw new TypeError(`options must be an object, got ${describeValue(options)}`);
  }
  checkNames("inputs", inputs, knownInputs);
  for (const name of inputNames) {
    if (inputs[name] !== undefined || !optionalInputs.has(name)) checkTensor(name, inputs[name]!);
  }
  const shape = expertsShape(inputs, options);
  checkIndices(inputs.routerIndices.data, shape);
  return shape;
}

/** Derives the sizes from the tensors' shapes and checks that all agree, dtypes and options too. Looks at no element. */
export function expertsShape(inputs: ExpertsInputs<Described>, options: ExpertsOptions = {}): ExpertsShape {
  checkNames("options", options, knownOptions);
  const variant = expertsVariant(checkDTypes(inputs), options);
  const outIn = variant.weightLayout === "out-in";
  const [tokens, hidden] = dimensions("hiddenStates", inputs, ["T", "H"]);
  const [, topK] = dimensions("routerIndices", inputs, ["T", "K"]);
  const [experts, rows, columns] = dimensions("downProj", inputs, outIn ? ["E", "H", "I"] : ["E", "I", "H"]);
  const intermediate = outIn ? columns : rows;
  const sizes = { ...variant, hidden, intermediate, experts };
  const weights = weightShapes(sizes);
  const width = gateUpColumns(sizes);
  expectShape("routerIndices", inputs, [tokens, topK]);
  expectShape("inputWeights", inputs, [tokens, topK]);
  expectShape("gateUpProj", inputs, weights.gateUpProj);
  expectShape("gateUpProjBias", inputs, [experts, width]);
  expectShape("downProj", inputs, weights.downProj);
  expectShape("downProjBias", inputs, [experts, hidden]);
  expectShape("addend", inputs, [tokens, hidden]);
  expectShape("addendWeights", inputs, [tokens, 1]);
  if (inputs.addendWeights && !inputs.addend) throw new TypeError("addendWeights need an addend, got none");

  const { expertCapacity = Infinity, routingWeightsLayout = "top-k" } = options;
  if (expertCapacity !== Infinity && !(Number.isSafeInteger(expertCapacity) && expertCapacity >= 1)) {
    throw new RangeError(
      `expertCapacity must be an integer of at least 1, or undefined, got ${describeValue(expertCapacity)}`,
    );
  }
  expectOneOf("routingWeightsLayout", routingWeightsLayout, ["top-k", "dense"]);
  const [, weightColumns] = dimensions("routingWeights", inputs, ["T", "K or E"]);
  const denseWeights = weightColumns === experts && (topK !== experts || routingWeightsLayout === "dense");
  expectShape("routingWeights", inputs, [tokens, denseWeights ? experts : topK]);
  if (inputs.inputWeights && denseWeights) {
    throw new RangeError(`inputWeights need routingWeights of shape [T, K], got ${formatShape([tokens, experts])}`);
  }
  return {
    ...variant,
    ...{ tokens, hidden, intermediate, experts, topK, capacity: expertCapacity, denseWeights },
    weightsDType: inputs.routingWeights.dtype,
    hasInputWeights: inputs.inputWeights !== undefined,
    hasAddend: inputs.addend !== undefined,
  };
}

/** Columns of the gate-up product. */
export function gateUpColumns({ gated, intermediate }: Pick<ExpertsShape, "gated" | "intermediate">): number {
  return gated ? 2 * intermediate : intermediate;
}

/** The shapes of the weights. */
export function weightShapes(
  sizes: Pick<ExpertsShape, "experts" | "hidden" | "intermediate" | "gated" | "weightLayout">,
): { readonly gateUpProj: number[]; readonly downProj: number[] } {
  const { experts, hidden, intermediate, weightLayout } = sizes;
  const shape = (input: number, output: number) =>
    weightLayout === "out-in" ? [experts, output, input] : [experts, input, output];
  return { gateUpProj: shape(hidden, gateUpColumns(sizes)), downProj: shape(intermediate, hidden) };
}

/** The dtype that all float tensors share. */
function checkDTypes(inputs: ExpertsInputs<Described>): DType {
  const { dtype } = inputs.hiddenStates;
  if (!floatDTypes.includes(dtype)) {
    throw new TypeError(`hiddenStates must be of dtype ${floatDTypes.join(", ")}, got ${dtype}`);
  }
  const others: { readonly [name in keyof ExpertsInputs]?: DType } = {
    routerIndices: "i32",
    inputWeights: "f32",
    addendWeights: "f32",
  };
  for (const name of inputNames) {
    const expected = others[name] ?? dtype;
    const actual = inputs[name]?.dtype ?? expected;
    if (actual === expected || name === "routingWeights" && actual === "f32") continue;
    const why = name in others
      ? ""
      : `, that of hiddenStates${name === "routingWeights" && dtype !== "f32" ? ", or f32" : ""}`;
    throw new TypeError(`${name} must be of dtype ${expected}${why}, got ${actual}`);
  }
  return dtype;
}

/** Fills in and checks the options that say what is computed. */
function expertsVariant(dtype: DType, options: ExpertsOptions): ExpertsVariant {
  const given = Object.entries(options).filter(([name, value]) => name in defaultVariant && value !== undefined);
  const variant: ExpertsVariant = { ...defaultVariant, ...Object.fromEntries(given), dtype };
  const { activation, activationAlpha } = variant;
  expectOneOf("activation", activation, activations);
  const standardLimit = activation === "swiglu-oai" ? defaultVariant.activationLimit : Infinity;
  const { activationLimit = standardLimit } = options;
  expectOneOf("gateUpLayout", variant.gateUpLayout, ["interleaved", "concatenated"]);
  expectOneOf("weightLayout", variant.weightLayout, ["in-out", "out-in"]);
  for (const name of ["gated", "batchInvariant"] as const) {
    if (typeof variant[name] !== "boolean") {
      throw new TypeError(`${name} must be true or false, got ${describeValue(variant[name])}`);
    }
  }
  if (!Number.isFinite(activationAlpha)) {
    throw new RangeError(`activationAlpha must be a finite number, got ${describeValue(activationAlpha)}`);
  }
  if (!(typeof activationLimit === "number" && activationLimit > 0)) {
    throw new RangeError(`activationLimit must be a number above 0, got ${describeValue(activationLimit)}`);
  }
  if (activation === "swiglu-oai") {
    if (!variant.gated) throw new RangeError('The activation "swiglu-oai" needs a gate, got gated: false');
  }
  const taken = activationOptions(variant);
  for (const name of ["activationAlpha", "activationLimit"] as const) {
    if (options[name] === undefined || name in taken) continue;
    const takers = `the activation "swiglu-oai"${name === "activationLimit" ? ' and for "silu" with a gate' : ""}`;
    throw new RangeError(`${name} is for ${takers} only, got activation: "${activation}"`);
  }
  return { ...variant, activationLimit };
}

/** Of the options of activations, those that an activation takes. */
export function activationOptions<Alpha, Limit>(
  { activation, gated, activationAlpha, activationLimit }: {
    readonly activation?: Activation | undefined;
    readonly gated?: boolean | undefined;
    readonly activationAlpha: Alpha;
    readonly activationLimit: Limit;
  },
): { activationAlpha?: Alpha; activationLimit?: Limit } {
  if ((activation ?? defaultVariant.activation) === "swiglu-oai") return { activationAlpha, activationLimit };
  return activation === "silu" && (gated ?? true) ? { activationLimit } : {};
}

function expectOneOf(name: string, value: string, expected: readonly string[]): void {
  if (expected.includes(value)) return;
  const list = expected.map((name) => `"${name}"`);
  throw new RangeError(
    `${name} must be ${list.slice(0, -1).join(", ")} or ${list.at(-1)}, got ${describeValue(value)}`,
  );
}

/** The sizes of a tensor whose rank the contract fixes. Only the number of tokens may be zero. */
function dimensions(
  name: keyof ExpertsInputs,
  inputs: ExpertsInputs<Described>,
  symbols: string[],
): [number, number, number] {
  const { shape } = inputs[name]!;
  if (shape.length !== symbols.length) {
    throw new RangeError(`${name} must have shape ${`[${symbols.join(", ")}]`}, got ${formatShape(shape)}`);
  }
  for (const [i, symbol] of symbols.entries()) {
    if (shape[i] === 0 && symbol !== "T") {
      throw new RangeError(`${name} must have at least one element along ${symbol}, got ${formatShape(shape)}`);
    }
  }
  return [shape[0]!, shape[1]!, shape[2] ?? 1];
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
export function expertsFlops(shape: ExpertsShape, kept: number): number {
  return kept * 2 * shape.hidden * (gateUpColumns(shape) + shape.intermediate);
}

/**
 * Bytes that must cross the memory bus at least once: the weights of experts that compute something, what the router says,
 * every token in and out.
 */
export function expertsBytes(shape: ExpertsShape, tokensPerExpert: ArrayLike<number>): number {
  const { tokens, hidden, intermediate, topK, experts, denseWeights, hasInputWeights, hasAddend } = shape;
  const active = Array.from(tokensPerExpert).filter((count) => count > 0).length;
  const columns = gateUpColumns(shape);
  const weights = active * (hidden * columns + intermediate * hidden + columns + hidden);
  const routing = tokens * (denseWeights ? experts : topK);
  const rows = (hasAddend ? 3 : 2) * tokens * hidden;
  return bytesPerElement(shape.dtype) * (weights + rows) + bytesPerElement(shape.weightsDType) * routing +
    4 * (hasInputWeights ? 2 : 1) * tokens * topK;
}
