/**
 * The op `experts`: the tensors and the options of a Mixture-of-Experts layer's experts.
 *
 * @module
 */
import type { Activation } from "./activations.ts";
import type { PackedTensor } from "../tensor/packed_tensor.ts";
import type { Tensor } from "../tensor/tensor.ts";

export type { Activation };

/**
 * The tensors of {@linkcode experts}. T tokens, H hidden size, I intermediate size, E experts, K experts per token.
 *
 * @typeParam T A tensor on the host or on a backend.
 * @typeParam W A weight: a tensor, or a tensor in a packed format.
 */
export interface ExpertsInputs<T = Tensor, W = T | PackedTensor<T>> {
  /**
   * [T, H], f16, bf16 or f32: the input of the layer. The other tensors and the output have the same dtype, except for packed
   * weights.
   */
  readonly hiddenStates: T;
  /** [T, K], i32: the experts of each token, from 0 to E - 1. */
  readonly routerIndices: T;
  /**
   * The weights of those experts: [T, K], in the order of `routerIndices`, or dense, [T, E], one for every expert. They may
   * be f32 whatever the dtype of the other tensors is.
   */
  readonly routingWeights: T;
  /**
   * [T, K], f32: the factor of each assignment's input, as in Llama 4. It is applied to the sums of the gate-up product, so
   * that no scaled input is rounded. Not with dense `routingWeights`.
   */
  readonly inputWeights?: T | undefined;
  /**
   * [E, H, 2I]: the weights of the gate and the up projection, with columns in the order of `gateUpLayout`; [E, H, I]
   * without a gate. `weightLayout: "out-in"` swaps the last two dimensions; packed weights need it.
   */
  readonly gateUpProj: W;
  /** [E, 2I], or [E, I] without a gate, in the order of the columns of `gateUpProj`. */
  readonly gateUpProjBias?: T | undefined;
  /** [E, I, H], or [E, H, I] with `weightLayout: "out-in"`. */
  readonly downProj: W;
  /** [E, H]. */
  readonly downProjBias?: T | undefined;
  /** [T, H]: added to the sum of the experts before it is rounded, for example the output of a shared expert. */
  readonly addend?: T | undefined;
  /** [T, 1], f32: the factor of each row of `addend`, 1 by default. */
  readonly addendWeights?: T | undefined;
}

/** How experts compute: the options that a layer's weights decide. */
export interface ExpertsComputation {
  /**
   * The function between the two products.
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
   * The limit of `"swiglu-oai"` (7 by default) or of `"silu"` with a gate (none by default): above zero, `Infinity` for
   * none.
   */
  activationLimit?: number | undefined;
  /**
   * Whether `gateUpProj` has a gate and an up projection, or a single projection.
   *
   * @default {true}
   */
  gated?: boolean | undefined;
  /**
   * Which columns of `gateUpProj` belong to the gate: the even ones (`"interleaved"`) or the first half
   * (`"concatenated"`). Has no effect without a gate.
   *
   * @default {"interleaved"}
   */
  gateUpLayout?: "interleaved" | "concatenated" | undefined;
  /**
   * The order of the last two dimensions of the weights: `"in-out"` has one row per input, `"out-in"` one row per output,
   * as `torch.nn.Linear` stores them. Neither is copied.
   *
   * @default {"in-out"}
   */
  weightLayout?: "in-out" | "out-in" | undefined;
}

/** Options of {@linkcode experts}. */
export interface ExpertsOptions extends ExpertsComputation {
  /**
   * Whether the bits of a token's output must not depend on the other tokens of the batch. On the GPU they never do,
   * because tiles of every shape sum in the same order.
   *
   * @default {false}
   */
  batchInvariant?: boolean | undefined;
  /**
   * The most tokens that an expert takes, in token order. Later tokens are dropped and contribute nothing. By default,
   * no token is dropped.
   */
  expertCapacity?: number | undefined;
  /**
   * How to read `routingWeights` when K equals E and the shape is ambiguous: `"top-k"`, in the order of `routerIndices`,
   * or `"dense"`, in the order of the experts.
   *
   * @default {"top-k"}
   */
  routingWeightsLayout?: "top-k" | "dense" | undefined;
  /** Called from time to time with the fraction of the work that is done, if the backend knows it. */
  onProgress?: ((fraction: number) => void) | undefined;
}

/** Inputs whose weights are not packed. */
export type DenseInputs<T = Tensor> = ExpertsInputs<T, T>;
