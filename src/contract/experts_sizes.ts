// The sizes of an `experts` call, and arithmetic on them.
import type { ExpertsVariant } from "./experts_options.ts";
import { weightBytes, type WeightFormats } from "./weights.ts";
import { bytesPerElement, type DType } from "../tensor/tensor.ts";

/** The sizes and the variant of an {@linkcode experts} call. */
export type ResolvedExperts = ExpertsVariant & {
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
  /** The most assignments that an expert keeps; `Infinity` for a dropless layer. */
  readonly capacity: number;
  /** Whether the routing weights are [T, E] rather than [T, K]. */
  readonly denseWeights: boolean;
  /** The dtype of the routing weights: that of the activations, or f32. */
  readonly weightsDType: DType;
  /** How the weights of the experts are stored. */
  readonly formats: WeightFormats;
  /** Whether each assignment's input has a factor. */
  readonly hasInputWeights: boolean;
  /** Whether a tensor is added to the sum of the experts. */
  readonly hasAddend: boolean;
};

/** Computes the number of columns of the gate-up product. */
export function gateUpColumns({ gated, intermediate }: Pick<ResolvedExperts, "gated" | "intermediate">): number {
  return gated ? 2 * intermediate : intermediate;
}

/** Computes the shapes of the weights. */
export function weightShapes(
  sizes: Pick<ResolvedExperts, "experts" | "hidden" | "intermediate" | "gated" | "weightLayout">,
): { readonly gateUpProj: number[]; readonly downProj: number[] } {
  const { experts, hidden, intermediate, weightLayout } = sizes;
  const shape = (input: number, output: number) =>
    weightLayout === "out-in" ? [experts, output, input] : [experts, input, output];
  return { gateUpProj: shape(hidden, gateUpColumns(sizes)), downProj: shape(intermediate, hidden) };
}

/** Counts the floating-point operations of both matrix products over `kept` assignments: one per multiplication or sum. */
export function expertsFlops(
  shape: Pick<ResolvedExperts, "hidden" | "intermediate" | "gated">,
  kept: number,
): number {
  return kept * 2 * shape.hidden * (gateUpColumns(shape) + shape.intermediate);
}

/**
 * Counts the bytes that must cross the memory bus at least once: the weights of the experts that have tokens, the router's
 * output, and every token in and out.
 */
export function expertsBytes(shape: ResolvedExperts, tokensPerExpert: ArrayLike<number>): number {
  const { tokens, hidden, intermediate, topK, experts, denseWeights, hasInputWeights, hasAddend, formats } = shape;
  const active = Array.from(tokensPerExpert).filter((count) => count > 0).length;
  const columns = gateUpColumns(shape);
  const weights = weightBytes(formats.gateUpProj, [active, columns, hidden]) +
    weightBytes(formats.downProj, [active, hidden, intermediate]);
  const routing = tokens * (denseWeights ? experts : topK);
  const rows = (hasAddend ? 3 : 2) * tokens * hidden;
  return weights + bytesPerElement(shape.dtype) * (active * (columns + hidden) + rows) +
    bytesPerElement(shape.weightsDType) * routing + 4 * (hasInputWeights ? 2 : 1) * tokens * topK;
}
