/**
 * The op `experts`: a Mixture-of-Experts layer's expert computation, its contract and its checks.
 *
 * @module
 */
import type { Tensor } from "../tensor/tensor.ts";

/**
 * What {@linkcode experts} computes with. T tokens, H hidden size, I intermediate size, E experts, K experts per token.
 *
 * @typeParam T A tensor on the host, or one that a backend holds.
 */
export interface ExpertsInputs<T = Tensor> {
  /** [T, H]: what the layer gets. Its dtype, f16, bf16 or f32, is that of all others and of the output. */
  readonly hiddenStates: T;
  /** [T, K], i32: the experts of each token, each from 0 to E - 1. */
  readonly routerIndices: T;
  /**
   * The weights of those experts, [T, K] in the order of `routerIndices`, or dense, [T, E], one for every expert. They may
   * be f32 whatever the others are.
   */
  readonly routingWeights: T;
  /**
   * [T, K], f32: what the input of each assignment is multiplied by, as in Llama 4. The sums of the gate-up product are, so
   * that no scaled input is rounded.
   */
  readonly inputWeights?: T | undefined;
  /**
   * [E, H, 2I]: the weights of gate and up projection, in columns as `gateUpLayout` says; [E, H, I] without a gate. With
   * `weightLayout: "out-in"`, the last two dimensions change places.
   */
  readonly gateUpProj: T;
  /** [E, 2I], or [E, I] without a gate, in the order of the columns of `gateUpProj`. */
  readonly gateUpProjBias?: T | undefined;
  /** [E, I, H], or [E, H, I] with `weightLayout: "out-in"`. */
  readonly downProj: T;
  /** [E, H]. */
  readonly downProjBias?: T | undefined;
  /** [T, H]: what is added to the experts' sum before that is rounded, such as a shared expert's output. */
  readonly addend?: T | undefined;
  /** [T, 1], f32: what each row of `addend` is multiplied by. Without it, by 1. */
  readonly addendWeights?: T | undefined;
}

/**
 * What happens between the two products. With σ the logistic function and Φ the normal distribution's:
 *
 * | name | with a gate | without |
 * | --- | --- | --- |
 * | `"swiglu-oai"` | g · σ(α g) · (u + 1), where g = min(gate, limit), u = clamp(up, −limit, limit) | |
 * | `"silu"` | g · σ(g) · u, likewise with g and u clamped where there is a limit | x · σ(x) |
 * | `"gelu"` | gate · Φ(gate) · up | x · Φ(x) |
 * | `"gelu-tanh"` | the same with ½ + ½ tanh(√(2/π) (x + 0.044715 x³)) for Φ(x) | |
 * | `"relu2"` | max(gate, 0)² · up | max(x, 0)² |
 */
export type Activation = "swiglu-oai" | "silu" | "gelu" | "gelu-tanh" | "relu2";

/** Options of {@linkcode experts}. */
export interface ExpertsOptions {
  /**
   * What happens between the two products.
   *
   * @default {"swiglu-oai"}
   */
  activation?: Activation | undefined;
  /**
   * α of `"swiglu-oai"`.
   *
   * @default {1.702}
   */
  activationAlpha?: number | undefined;
  /**
   * The limit of `"swiglu-oai"`, by default 7, or of `"silu"` with a gate, by default none: above zero, `Infinity` for none.
   */
  activationLimit?: number | undefined;
  /**
   * Whether `gateUpProj` has a gate and an up projection, or one projection whose activation is all there is.
   *
   * @default {true}
   */
  gated?: boolean | undefined;
  /**
   * Which columns of `gateUpProj` are the gate's: the even ones, `"interleaved"` with those of the up projection, or the
   * first half, `"concatenated"` with it. Of no consequence without a gate.
   *
   * @default {"interleaved"}
   */
  gateUpLayout?: "interleaved" | "concatenated" | undefined;
  /**
   * The order of the last two dimensions of the weights: `"in-out"`, each row for one input, or `"out-in"`, each row for
   * one output, as checkpoints of linear layers have them. Both are read as they are, without a copy.
   *
   * @default {"in-out"}
   */
  weightLayout?: "in-out" | "out-in" | undefined;
  /**
   * Whether the bits of a token's output must not depend on what else is in the batch. On the GPU they never do: tiles of
   * every shape add up in the same order.
   *
   * @default {false}
   */
  batchInvariant?: boolean | undefined;
  /**
   * The most tokens an expert takes, in token order; what comes after is dropped and contributes nothing. Without it
   * nothing is dropped.
   */
  expertCapacity?: number | undefined;
  /**
   * How to read `routingWeights` where K equals E and the shape cannot tell: `"top-k"`, in the order of `routerIndices`,
   * or `"dense"`, in the order of the experts.
   *
   * @default {"top-k"}
   */
  routingWeightsLayout?: "top-k" | "dense" | undefined;
  /** Called now and then with the fraction that is done, where that is known. */
  onProgress?: ((fraction: number) => void) | undefined;
}
