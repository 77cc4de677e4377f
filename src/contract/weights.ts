// How the experts' weights are stored. The dtype of the activations is that of the call.
import { expectDType, type TensorSpec } from "./checks.ts";
import {
  isPacked,
  type PackedFormat,
  type PackedSpec,
  partDTypes,
  partNames,
  partShapes,
} from "../tensor/packed_tensor.ts";
import { bytesPerElement, type DType, elementCount } from "../tensor/tensor.ts";

/** A weight whose elements are stored one by one. */
export interface DenseFormat {
  /** The name of the format. */
  readonly kind: "dense";
  /** The element type. */
  readonly dtype: DType;
}

/** The format of a weight. */
export type WeightFormat = DenseFormat | PackedFormat;

/** The formats of the two weights of experts. */
export interface WeightFormats {
  readonly gateUpProj: WeightFormat;
  readonly downProj: WeightFormat;
}

/** The dtype and the shape of a dense weight, or the format and the shape of a packed one. */
export type WeightSpec = TensorSpec | PackedSpec;

/**
 * Finds the format of a weight and checks that it fits the call.
 *
 * @param name The name of the weight, for messages.
 * @param weight The weight.
 * @param activations The dtype of the activations.
 * @param layout The layout of the weights. Packed weights have one row for each output.
 * @throws {TypeError} If the weight's dtype is not that of the activations.
 * @throws {RangeError} If a packed weight does not fit the layout or the dtype of the activations.
 */
export function resolveWeightFormat(
  name: string,
  weight: WeightSpec,
  activations: DType,
  layout: "in-out" | "out-in",
): WeightFormat {
  if (!isPacked<PackedSpec>(weight)) {
    expectDType(name, weight, activations, ", that of hiddenStates");
    return { kind: "dense", dtype: activations };
  }
  const { format } = weight;
  if (layout !== "out-in") {
    throw new RangeError(`weightLayout must be "out-in" for packed weights such as ${name}, got "${layout}"`);
  }
  if (format.kind === "mxfp4" && activations === "f16" && !format.exactInF16) {
    throw new RangeError(
      `${name} in mxfp4 must only have numbers of f16 for hidden states in f16, got others: use bf16 or f32`,
    );
  }
  return format;
}

/** Makes the formats of weights that are dense tensors of one dtype. */
export function denseFormats(dtype: DType): WeightFormats {
  return { gateUpProj: { kind: "dense", dtype }, downProj: { kind: "dense", dtype } };
}

/** Describes the formats: the name of a packed format, or the dtype of a dense weight; both if they differ. */
export function describeFormats({ gateUpProj, downProj }: WeightFormats): string {
  const names = [gateUpProj, downProj].map((format) => format.kind === "dense" ? format.dtype : format.kind);
  return [...new Set(names)].join(", ");
}

/**
 * Computes the bytes that a weight takes in memory.
 *
 * @param format The format.
 * @param shape [experts, outputs, inputs]. A dense weight has the same bytes in another order.
 */
export function weightBytes(format: WeightFormat, shape: readonly number[]): number {
  if (format.kind === "dense") return elementCount(shape) * bytesPerElement(format.dtype);
  const shapes = partShapes(format, shape), dtypes = partDTypes(format);
  return partNames.reduce(
    (sum, name) => sum + (shapes[name] ? elementCount(shapes[name]) * bytesPerElement(dtypes[name]) : 0),
    0,
  );
}
