/**
 * A preset: the sizes of one Mixture-of-Experts layer, and its work.
 *
 * @module
 */
import type { ExpertsVariant } from "../contract/experts_options.ts";
import { gateUpColumns } from "../contract/experts_sizes.ts";
import type { RouterOptions } from "../routing/router.ts";
import type { PackedFormat } from "../tensor/packed_tensor.ts";

/** A router's options, without the values of the correction bias. */
export interface RouterPreset extends Omit<RouterOptions, "topK" | "correctionBias" | "kind"> {
  /** The kind of the router. */
  readonly kind: NonNullable<RouterOptions["kind"]>;
  /** Whether the router has a correction bias. */
  readonly correctionBias?: boolean;
}

/** The sizes of a layer, and how it computes. */
export interface LayerPreset extends ExpertsVariant {
  /** H. */
  readonly hidden: number;
  /** E. */
  readonly experts: number;
  /** K. */
  readonly topK: number;
  /** The biases of the two projections. Zero biases take memory and do not change the result. */
  readonly biases: "none" | "zero" | "random";
  /** The router. */
  readonly router: RouterPreset;
  /** The intermediate size of the shared expert, or 0 if there is none. */
  readonly sharedIntermediate: number;
}

/** A model's layer, and the number of tokens in its input. */
export interface Preset extends LayerPreset {
  /** The model. */
  readonly model: string;
  /** The source of the sizes. */
  readonly source: string;
  /** How the preset differs from the model, if it does. */
  readonly note?: string;
  /** The format of the experts' weights in the model's own checkpoint. Defaults to dense, in 16 bits. */
  readonly published?: PackedFormat["kind"];
  /** Number of sequences. */
  readonly batch: number;
  /** Tokens per sequence. */
  readonly seq: number;
  /** I. The default is H. */
  readonly intermediate?: number;
  /** Whether the experts are dropless. Otherwise the expert capacity is `seq`. */
  readonly dropless: boolean;
}

/** The memory and the work of a layer. */
export interface LayerWork {
  /** Bytes of all parameters, with two bytes per element. */
  readonly parameterBytes: number;
  /** Bytes of the routed experts' parameters. */
  readonly expertBytes: number;
  /** Floating-point operations per token in the products of router, K experts and shared expert. */
  readonly flopsPerToken: number;
  /** Floating-point operations per token in the routed experts. */
  readonly expertFlopsPerToken: number;
}

/** Computes the memory and the work of a layer from its sizes. */
export function layerWork(layer: LayerPreset & { readonly intermediate: number }): LayerWork {
  const { hidden, intermediate, experts, topK, biases, sharedIntermediate, router } = layer;
  const columns = gateUpColumns(layer);
  const weights = hidden * (columns + intermediate);
  const biasCount = biases === "none" ? 0 : columns + hidden;
  const routerWeights = experts * hidden;
  const sharedWeights = hidden * (gateUpColumns({ ...layer, intermediate: sharedIntermediate }) + sharedIntermediate);
  const routerBias = biases === "random" || router.correctionBias ? experts : 0;
  const expertBytes = 2 * experts * (weights + biasCount);
  return {
    parameterBytes: expertBytes + 2 * (routerWeights + routerBias + sharedWeights),
    expertBytes,
    flopsPerToken: 2 * (topK * weights + routerWeights + sharedWeights),
    expertFlopsPerToken: 2 * topK * weights,
  };
}
