/**
 * A whole Mixture-of-Experts layer as one call: router, experts, and a shared expert where the model has one.
 *
 * @module
 */
import type { ExpertsComputation, ExpertsInputs, ExpertsOptions } from "./experts.ts";
import type { RouterOptions } from "../routing/router.ts";
import type { DType, Tensor } from "../tensor/tensor.ts";

/**
 * The weights of experts, and how they compute: the tensors and options of {@linkcode experts} by the same names.
 *
 * @typeParam T A tensor on the host, or one that a backend holds.
 */
export interface ExpertsLayer<T = Tensor>
  extends
    Pick<ExpertsInputs<T>, "gateUpProj" | "gateUpProjBias" | "downProj" | "downProjBias">,
    Readonly<ExpertsComputation> {}

/** A router: a linear layer from a token to its logits, and how to decide on those. */
export interface MoeRouter<T = Tensor> {
  /** [E, H], f16, bf16 or f32, be that the layer's dtype or not. */
  readonly weight: T;
  /** [E], of the same dtype. */
  readonly bias?: T | undefined;
  /** How to decide. `scale` holds the factor that models call the routed scaling. */
  readonly options: RouterOptions<T>;
  /**
   * What the logits are rounded to before they are decided on. Models whose router is a plain linear layer round them to
   * their own dtype, which then decides between experts that are close; others (DeepSeek-V3, Kimi, GLM) make a point of f32.
   *
   * @default {"f32"}
   */
  readonly logitsDType?: DType | undefined;
}

/** An expert that every token goes to: weights as of experts, with E = 1 and an intermediate size of its own. */
export interface SharedExpert<T = Tensor> extends ExpertsLayer<T> {
  /** [1, H]: the expert's output is multiplied by σ(x · gate) (Qwen2-MoE, Qwen3-Next). Without it, by 1. */
  readonly gate?: T | undefined;
}

/**
 * A Mixture-of-Experts layer. T tokens, H hidden size, I intermediate size, E experts, K experts per token.
 *
 * All tensors are of the hidden states' dtype, but for the router's and its `correctionBias`, which is f32.
 *
 * @typeParam T A tensor on the host, or one that a backend holds.
 */
export interface MoeLayer<T = Tensor> extends ExpertsLayer<T> {
  /** Who decides where a token goes. */
  readonly router: MoeRouter<T>;
  /** The expert that every token goes to, where the model has one. */
  readonly sharedExpert?: SharedExpert<T> | undefined;
}

/** Options of {@linkcode moe}. */
export interface MoeOptions extends Pick<ExpertsOptions, "expertCapacity" | "batchInvariant" | "onProgress"> {}
