/**
 * A whole Mixture-of-Experts layer as one call: the router, the experts, and optionally a shared expert.
 *
 * @module
 */
import type { RouterOptions } from "../routing/router.ts";
import type { PackedTensor } from "../tensor/packed_tensor.ts";
import type { DType, Tensor } from "../tensor/tensor.ts";
import type { ExpertsComputation, ExpertsInputs, ExpertsOptions } from "./experts.ts";

/**
 * The weights of experts and how they compute: the tensors and options of {@linkcode experts} with the same names.
 *
 * @typeParam T A tensor on the host or on a backend.
 * @typeParam W A weight: a tensor, or a tensor in a packed format.
 */
export interface ExpertsLayer<T = Tensor, W = T | PackedTensor<T>>
  extends
    Pick<ExpertsInputs<T, W>, "gateUpProj" | "gateUpProjBias" | "downProj" | "downProjBias">,
    Readonly<ExpertsComputation> {}

/**
 * A norm, which the host computes: each row is divided by its root mean square, √(mean(x²) + epsilon), and multiplied by the
 * weight.
 */
export interface RmsNorm {
  /** [H], f32, on the host. */
  readonly weight: Tensor;
  /** Added to the mean of the squares. Not negative. */
  readonly epsilon: number;
}

/** A router: a linear layer that computes the logits of a token, and the rule that chooses its experts. */
export interface MoeRouter<T = Tensor> {
  /** [E, H], f16, bf16 or f32. Its dtype may differ from that of the layer. */
  readonly weight: T;
  /** [E], of the same dtype as `weight`. */
  readonly bias?: T | undefined;
  /** How the router chooses experts. `scale` is the factor that models call routed scaling. */
  readonly options: RouterOptions<T>;
  /**
   * The dtype that the logits are rounded to before the choice. Models whose router is a plain linear layer round them to
   * their own dtype, which can change the choice between close experts. Others (DeepSeek-V3, Kimi, GLM) use f32.
   *
   * @default {"f32"}
   */
  readonly logitsDType?: DType | undefined;
  /**
   * [V, K], i32, on the host: the experts of each token id. The logits then only decide the weights of these experts
   * (DeepSeek-V4's first layers), and are copied to the host. Such a layer needs {@linkcode MoeOptions.tokenIds}.
   */
  readonly tokenTable?: Tensor | undefined;
  /** Caps the logits: x becomes cap · tanh(x / cap) (Grok-1). The logits are copied to the host for it. */
  readonly logitCap?: number | undefined;
  /** Normalizes the router's input (Gemma 4). */
  readonly norm?: RmsNorm | undefined;
  /**
   * [E], f32, on the host: a factor of each expert's weight, also where that multiplies the input (Gemma 4). The logits are copied
   * to the host for it.
   */
  readonly expertScale?: Tensor | undefined;
}

/** An expert that processes every token: weights as of experts, with E = 1 and its own intermediate size. */
export interface SharedExpert<T = Tensor, W = T | PackedTensor<T>> extends ExpertsLayer<T, W> {
  /** [1, H]: the output of the expert is multiplied by σ(x · gate) (Qwen2-MoE, Qwen3-Next). By default, by 1. */
  readonly gate?: T | undefined;
}

/**
 * Linear layers around the routed experts, which then compute in a latent space of L dimensions (Nemotron-3): `input` is
 * applied to the hidden states, `output` to the sum of the experts. The router and the shared expert use the hidden states.
 */
export interface LatentSpace<T = Tensor> {
  /** [L, H]. */
  readonly input: T;
  /** [H, L]. */
  readonly output: T;
}

/**
 * A Mixture-of-Experts layer. T tokens, H hidden size, I intermediate size, E experts, K experts per token.
 *
 * All tensors have the dtype of the hidden states, except for packed weights, the router's tensors and its `correctionBias`,
 * which is f32.
 *
 * @typeParam T A tensor on the host or on a backend.
 * @typeParam W A weight: a tensor, or a tensor in a packed format.
 */
export interface MoeLayer<T = Tensor, W = T | PackedTensor<T>> extends ExpertsLayer<T, W> {
  /** The router. */
  readonly router: MoeRouter<T>;
  /** The shared expert, if the model has one. */
  readonly sharedExpert?: SharedExpert<T, W> | undefined;
  /** The projections into and out of the space of the routed experts, if it is another than that of the hidden states. */
  readonly latent?: LatentSpace<T> | undefined;
  /** Normalizes the input of the routed experts (Gemma 4). Not in a layer with a latent space. */
  readonly norm?: RmsNorm | undefined;
  /** The maximum number of tokens per expert (Switch Transformers). A call can replace it. By default, there is no limit. */
  readonly expertCapacity?: number | undefined;
}

/** Options of {@linkcode moe}. The default of `expertCapacity` is that of the layer. */
export interface MoeOptions extends Pick<ExpertsOptions, "expertCapacity" | "batchInvariant" | "onProgress"> {
  /** The id of each token, for a layer with a {@linkcode MoeRouter.tokenTable}. */
  readonly tokenIds?: readonly number[] | Int32Array | undefined;
}
