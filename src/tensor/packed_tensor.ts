/**
 * Weights in the formats in which models are published: numbers of four or eight bits with scales.
 *
 * @module
 */
import type { DType, Tensor } from "./tensor.ts";

/** What all packed formats have in common. */
export interface PackedDetails {
  /** `"concatenated"` if the first half of the rows are gates, and the other half their up rows. */
  readonly gateUpLayout?: "concatenated" | undefined;
  /** Only of weights on a GPU: its fastest kernels cannot read some scales, or a NaN, so each call decodes the weight first. */
  readonly hasWideScales?: true | undefined;
}

/** MXFP4: E2M1 numbers with an E8M0 scale for each 32 inputs. A weight is number · scale. */
export interface Mxfp4Format extends PackedDetails {
  /** The name of the format. */
  readonly kind: "mxfp4";
  /** Whether every weight is a number of f16. All of them are numbers of bf16 and f32, unless they overflow. */
  readonly exactInF16: boolean;
}

/** NVFP4: E2M1 numbers with an E4M3 scale for each 16 inputs and a global scale. A weight is number · (scale · global scale). */
export interface Nvfp4Format extends PackedDetails {
  /** The name of the format. */
  readonly kind: "nvfp4";
  /** The number of global scales of an expert: 1, or 2, the first for the first half of the rows. */
  readonly globalScales: 1 | 2;
}

/** Integers of four bits with a scale for each group of inputs. A weight is (number − zero point) · scale. */
export interface Int4Format extends PackedDetails {
  /** The name of the format. */
  readonly kind: "int4";
  /** The number of inputs that share a scale, a multiple of 32. */
  readonly group: number;
  /**
   * How the numbers are read: `"signed"`, two's complement with the zero point 0; `"offset"`, unsigned with the zero point 8;
   * `"zero-points"`, unsigned with a zero point for each group.
   */
  readonly integers: "signed" | "offset" | "zero-points";
  /** The dtype of the scales. */
  readonly scale: "f16" | "bf16" | "f32";
}

/** FP8: E4M3 numbers with a scale for each block of rows and columns. A weight is number · scale. */
export interface Fp8Format extends PackedDetails {
  /** The name of the format. */
  readonly kind: "fp8";
  /** The outputs and the inputs that share a scale. The last block of an expert can be smaller. */
  readonly block: readonly [outputs: number, inputs: number];
  /** The dtype of the scales. */
  readonly scale: "f32" | "bf16" | "e8m0";
}

/**
 * The format of a packed tensor. The value of a weight is computed in f32: each product is rounded to f32. The weight is that
 * value, rounded once to the dtype of the activations.
 */
export type PackedFormat = Mxfp4Format | Nvfp4Format | Int4Format | Fp8Format;

/** The names of the packed formats. */
export const packedKinds = ["mxfp4", "nvfp4", "int4", "fp8"] as const satisfies readonly PackedFormat["kind"][];

/**
 * The tensors that a packed tensor consists of. E experts; pairs of four-bit numbers have the first one in the low bits.
 *
 * @typeParam T A tensor on the host or on a backend.
 */
export interface PackedParts<T = Tensor> {
  /** [E, out, in / 2], u8, pairs of numbers; `"fp8"`: [E, out, in], u8. */
  readonly values: T;
  /**
   * `"mxfp4"`: [E, out, in / 32], u8 (E8M0). `"nvfp4"`: [E, out, in / 16], u8 (E4M3). `"int4"`: [E, out, in / group], f16,
   * bf16 or f32. `"fp8"`: [E, bands, runs], f32, bf16 or u8 (E8M0), one for each block.
   */
  readonly scales: T;
  /** Only `"nvfp4"`: [E], or [E, 2] with a global scale for each half of the rows, f32. */
  readonly globalScales?: T | undefined;
  /** Only `"int4"`: [E, out, in / group], u8, each from 0 to 16. */
  readonly zeroPoints?: T | undefined;
}

/** The names of the parts. */
export const partNames = ["values", "scales", "globalScales", "zeroPoints"] as const satisfies (keyof PackedParts)[];

/** The format and the shape of a packed tensor. */
export interface PackedSpec {
  /** The format. */
  readonly format: PackedFormat;
  /** [E, out, in]: the shape of the weights, one row for each output. */
  readonly shape: readonly number[];
}

/**
 * A weight of experts in a packed format. Make one with {@linkcode packed}.
 *
 * @typeParam T A tensor on the host or on a backend.
 */
export interface PackedTensor<T = Tensor> extends PackedSpec {
  /** The tensors that hold the numbers and their scales. */
  readonly parts: PackedParts<T>;
}

/** Returns whether a weight is packed, for weights that may be malformed. */
export function isPacked<Packed extends PackedSpec>(weight: object | Packed): weight is Packed {
  return typeof weight === "object" && weight !== null && "format" in weight;
}

/** Applies a function to each part that is present. */
export function mapParts<From, To>(
  { format, shape, parts }: PackedTensor<From>,
  change: (part: From, name: keyof PackedParts) => To,
): PackedTensor<To> {
  const mapped: Partial<Record<keyof PackedParts, To>> = {};
  for (const name of partNames) {
    const part = parts[name];
    if (part !== undefined) mapped[name] = change(part, name);
  }
  return { format, shape, parts: mapped as PackedParts<To> };
}

/** Applies a function to a dense weight, or to each part of a packed one. */
export function mapWeight<From extends object, To>(
  weight: From | PackedTensor<From>,
  change: (tensor: From) => To,
): To | PackedTensor<To> {
  return isPacked<PackedTensor<From>>(weight) ? mapParts(weight, change) : change(weight);
}

/** Computes the shape of each part of a packed tensor. */
export function partShapes(
  format: PackedFormat,
  [experts = 0, outputs = 0, inputs = 0]: readonly number[],
): PackedParts<readonly number[]> {
  const pairs = [experts, outputs, inputs / 2];
  switch (format.kind) {
    case "mxfp4":
      return { values: pairs, scales: [experts, outputs, inputs / 32] };
    case "nvfp4": {
      const globalScales = format.globalScales === 1 ? [experts] : [experts, 2];
      return { values: pairs, scales: [experts, outputs, inputs / 16], globalScales };
    }
    case "int4": {
      const scales = [experts, outputs, inputs / format.group];
      return { values: pairs, scales, zeroPoints: format.integers === "zero-points" ? scales : undefined };
    }
    case "fp8": {
      const [rows, columns] = format.block;
      const scales = [experts, Math.ceil(outputs / rows), Math.ceil(inputs / columns)];
      return { values: [experts, outputs, inputs], scales };
    }
  }
}

/** Describes the parts of a packed tensor. */
export function describeParts({ format, shape }: PackedSpec): PackedTensor<Pick<Tensor, "dtype" | "shape">> {
  const dtypes = partDTypes(format);
  return mapParts(
    { format, shape, parts: partShapes(format, shape) },
    (shape, name) => ({ dtype: dtypes[name], shape }),
  );
}

/** Returns some experts of a packed tensor, without a copy. */
export function expertsOf(tensor: PackedTensor, first: number, count: number): PackedTensor {
  const [experts = 0, ...matrix] = tensor.shape;
  const { parts } = mapParts(tensor, ({ dtype, shape: [, ...rest], data }) => {
    const size = data.length / experts;
    return { dtype, shape: [count, ...rest], data: data.subarray(first * size, (first + count) * size) };
  });
  return { format: tensor.format, shape: [count, ...matrix], parts };
}

/** The dtype of each part. */
export function partDTypes(format: PackedFormat): Record<keyof PackedParts, DType> {
  const scales = !("scale" in format) || format.scale === "e8m0" ? "u8" : format.scale;
  return { values: "u8", scales, globalScales: "f32", zeroPoints: "u8" };
}
