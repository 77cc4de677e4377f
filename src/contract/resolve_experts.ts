// Checks the tensors and the options of an `experts` call and derives its sizes. Each call is resolved once, before any work.
import {
  expectDType,
  expectFloat,
  expectObject,
  expectRank,
  expectShape,
  expectSpec,
  type TensorSpec,
} from "./checks.ts";
import type { ExpertsInputs, ExpertsOptions } from "./experts.ts";
import { inputNames, inputRules, isWeight } from "./experts_inputs.ts";
import { resolveOptions } from "./experts_options.ts";
import { gateUpColumns, type ResolvedExperts, weightShapes } from "./experts_sizes.ts";
import { resolveWeightFormat, type WeightSpec } from "./weights.ts";
import { checkNames } from "../known_names.ts";
import { checkWeight } from "../tensor/packed.ts";
import { checkTensor, type DType, formatShape } from "../tensor/tensor.ts";

export type { ResolvedExperts } from "./experts_sizes.ts";

/** A resolved call: its tensors, and everything that was derived from them and from the options. */
export interface ExpertsCall<T> {
  readonly inputs: ExpertsInputs<T>;
  readonly shape: ResolvedExperts;
  readonly onProgress: ExpertsOptions["onProgress"];
}

/**
 * Checks host tensors, their elements included, and options.
 *
 * @returns The call.
 * @throws {TypeError} If a tensor is missing, malformed or of another dtype, or the name of an input or an option is unknown.
 * @throws {RangeError} If a shape, an index or an option is out of range.
 */
export function checkExperts<T extends ExpertsInputs>(inputs: T, options: ExpertsOptions = {}): ResolvedExperts {
  expectObject("inputs", inputs);
  for (const name of inputNames) {
    if (isWeight(name)) checkWeight(name, inputs[name]);
    else if (inputs[name] !== undefined || !inputRules[name].optional) checkTensor(name, inputs[name]);
  }
  const shape = resolveExperts(inputs, options);
  checkIndices(inputs.routerIndices.data, shape);
  return shape;
}

/**
 * Checks dtypes, shapes and options and derives the sizes. Does not read any element.
 *
 * @throws {TypeError} If a tensor is missing or of another dtype, or the name of an input or an option is unknown.
 * @throws {RangeError} If a shape or an option is out of range.
 */
export function resolveExperts(
  inputs: ExpertsInputs<TensorSpec, WeightSpec>,
  options: ExpertsOptions = {},
): ResolvedExperts {
  expectObject("inputs", inputs);
  expectObject("options", options);
  checkNames("inputs", inputs, inputNames);
  for (const name of inputNames) {
    const tensor = inputs[name];
    if (tensor !== undefined || !inputRules[name].optional) expectSpec(name, tensor as TensorSpec | undefined);
  }
  const { dtype } = inputs.hiddenStates;
  expectFloat("hiddenStates", dtype);
  const { variant, expertCapacity, routingWeightsLayout } = resolveOptions(dtype, options);
  expectDTypes(inputs, dtype);
  const formats = {
    gateUpProj: resolveWeightFormat("gateUpProj", inputs.gateUpProj, dtype, variant.weightLayout),
    downProj: resolveWeightFormat("downProj", inputs.downProj, dtype, variant.weightLayout),
  };

  const outIn = variant.weightLayout === "out-in";
  const [tokens, hidden] = dimensions("hiddenStates", inputs.hiddenStates, ["T", "H"]);
  const [, topK] = dimensions("routerIndices", inputs.routerIndices, ["T", "K"]);
  const [experts, rows, columns] = dimensions("downProj", inputs.downProj, outIn ? ["E", "H", "I"] : ["E", "I", "H"]);
  const [, weightColumns] = dimensions("routingWeights", inputs.routingWeights, ["T", "K or E"]);
  const denseWeights = weightColumns === experts && (topK !== experts || routingWeightsLayout === "dense");
  const sizes = { ...variant, tokens, hidden, intermediate: outIn ? columns : rows, experts, topK };
  const width = gateUpColumns(sizes);
  const weights = weightShapes(sizes);
  const shapes: Readonly<Record<keyof ExpertsInputs, readonly number[]>> = {
    hiddenStates: [tokens, hidden],
    routerIndices: [tokens, topK],
    routingWeights: [tokens, denseWeights ? experts : topK],
    inputWeights: [tokens, topK],
    gateUpProj: weights.gateUpProj,
    gateUpProjBias: [experts, width],
    downProj: weights.downProj,
    downProjBias: [experts, hidden],
    addend: [tokens, hidden],
    addendWeights: [tokens, 1],
  };
  expectWeights(inputs, shapes, outIn ? 2 : 1);
  for (const name of inputNames) {
    const tensor = inputs[name];
    if (tensor) expectShape(name, tensor, shapes[name]);
  }
  if (inputs.addendWeights && !inputs.addend) throw new TypeError("addendWeights need an addend, got none");
  if (inputs.inputWeights && denseWeights) {
    throw new RangeError(
      `inputWeights need routingWeights in the order of routerIndices, got dense ones, ${
        formatShape([tokens, experts])
      }`,
    );
  }
  return {
    ...sizes,
    ...{ capacity: expertCapacity, denseWeights, weightsDType: inputs.routingWeights.dtype, formats },
    hasInputWeights: inputs.inputWeights !== undefined,
    hasAddend: inputs.addend !== undefined,
  };
}

/** Checks the dtypes of all inputs but the weights, whose format was checked. */
function expectDTypes(inputs: ExpertsInputs<TensorSpec, WeightSpec>, dtype: DType): void {
  for (const name of inputNames) {
    if (isWeight(name)) continue;
    const tensor = inputs[name];
    if (!tensor) continue;
    if (name === "routingWeights" && tensor.dtype === "f32") continue;
    const expected = inputRules[name].dtype;
    const orF32 = name === "routingWeights" && dtype !== "f32" ? ", or f32" : "";
    expectDType(name, tensor, expected ?? dtype, expected ? "" : `, that of hiddenStates${orF32}`);
  }
}

/** Checks that the weights match the hidden states and each other. The error names the tensor that differs from the others. */
function expectWeights(
  { hiddenStates, gateUpProj, downProj }: ExpertsInputs<TensorSpec, WeightSpec>,
  expected: Readonly<Record<keyof ExpertsInputs, readonly number[]>>,
  hiddenAxis: 1 | 2,
): void {
  const hidden = gateUpProj.shape[hiddenAxis];
  if (hidden !== undefined && hidden === downProj.shape[3 - hiddenAxis]) {
    expectShape("hiddenStates", hiddenStates, [...hiddenStates.shape.slice(0, 1), hidden]);
  }
  expectShape("downProj", downProj, expected.downProj);
  const got = formatShape(gateUpProj.shape);
  if (got === formatShape(expected.gateUpProj)) return;
  throw new RangeError(
    `gateUpProj must have shape ${formatShape(expected.gateUpProj)} to match downProj of shape ${
      formatShape(downProj.shape)
    }, got ${got}`,
  );
}

/** Reads the sizes of a tensor of a known rank. Only the number of tokens may be zero. */
function dimensions(
  name: string,
  tensor: Pick<TensorSpec, "shape">,
  symbols: readonly string[],
): readonly [number, number, number] {
  const [first = 1, second = 1, third = 1] = expectRank(name, tensor, symbols);
  for (const [i, symbol] of symbols.entries()) {
    if (tensor.shape[i] !== 0 || symbol === "T") continue;
    throw new RangeError(`${name} must have at least one element along ${symbol}, got ${formatShape(tensor.shape)}`);
  }
  return [first, second, third];
}

/**
 * Checks that every index names an expert.
 *
 * @throws {RangeError} If one does not.
 */
export function checkIndices(
  indices: ArrayLike<number>,
  { experts, topK }: Pick<ResolvedExperts, "experts" | "topK">,
): void {
  for (let i = 0; i < indices.length; i++) {
    const index = indices[i];
    if (index !== undefined && index >= 0 && index < experts) continue;
    throw new RangeError(
      `routerIndices must hold integers from 0 to ${experts - 1}, got ${index} at [${Math.floor(i / topK)}, ${
        i % topK
      }]`,
    );
  }
}
