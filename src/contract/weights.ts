// How the experts' weights are stored. Only this file knows the formats; the dtype of the activations is that of the call.
import { expectDType, type TensorSpec } from "./checks.ts";
import { bytesPerElement, type DType } from "../tensor/tensor.ts";

/** A weight whose elements are stored one by one. */
export interface DenseFormat {
  /** The name of the format. */
  readonly kind: "dense";
  /** The element type. */
  readonly dtype: DType;
}

/** The format of a weight. */
export type WeightFormat = DenseFormat;

/** The formats of the two weights of experts. */
export interface WeightFormats {
  readonly gateUpProj: WeightFormat;
  readonly downProj: WeightFormat;
}

/**
 * Finds the format of a weight and checks that kernels exist for it.
 *
 * @param name The name of the weight, for messages.
 * @param weight The weight.
 * @param activations The dtype of the activations.
 * @throws {TypeError} If the weight's format is not supported with this dtype.
 */
export function resolveWeightFormat(name: string, weight: TensorSpec, activations: DType): WeightFormat {
  expectDType(name, weight, activations, ", that of hiddenStates");
  return { kind: "dense", dtype: activations };
}

/** Makes the formats of weights that are dense tensors of one dtype. */
export function denseFormats(dtype: DType): WeightFormats {
  return { gateUpProj: { kind: "dense", dtype }, downProj: { kind: "dense", dtype } };
}

/** Computes the bytes that so many elements of a weight take in memory. */
export function weightBytes({ dtype }: WeightFormat, elements: number): number {
  return elements * bytesPerElement(dtype);
}
