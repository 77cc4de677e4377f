/**
 * The op `experts`: a Mixture-of-Experts layer's expert computation, its contract and its checks.
 *
 * @module
 */
import type { Backend } from "./backend.ts";
import { checkExperts, mapInputs } from "./experts_shape.ts";
import { describeValue, type Tensor } from "./tensor.ts";

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

/**
 * Runs the experts of a Mixture-of-Experts layer.
 *
 * Each of a token's K assignments goes to one expert; an expert keeps the first `expertCapacity` of its assignments in
 * token order. For a kept assignment with routing weight w, `g = x · gateUp + bias`, `a` is the activation of `g` (see
 * {@linkcode Activation}; by default that of gpt-oss), and the token's output grows by `w · (a · down + bias)`, in the end by
 * `addend`. Operands are f16, bf16 or f32; every sum is f32. What is rounded to the dtype is `a`, each expert's row, and the
 * output. The result is the same bits every time.
 *
 * @param inputs The tensors. Those in shared memory (see {@linkcode zeros}) reach the CPU backend without a copy.
 * @param options The capacity, and where to run: `backend` is an open backend to use; without one, a CPU backend is
 * opened for this call and closed after it.
 * @returns The output, [T, H], of the inputs' dtype. A token whose every assignment was dropped gets zeros, and its addend.
 * @throws {TypeError} If a tensor is missing, has another dtype or its buffer is detached.
 * @throws {RangeError} If a shape does not fit the others, or an index or option is out of range. All before any work.
 *
 * @example Usage
 * ```ts
 * import { experts, Generator, route, tensor } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * const random = new Generator(0);
 * const half = (shape: number[]) => tensor(Float16Array.from(random.randn(shape).data), shape);
 * const { routerIndices, routerWeights } = route(random.randn([5, 4]), 2); // 5 tokens, 4 experts, top 2
 * const output = await experts({
 *   routerIndices,
 *   routingWeights: tensor(Float16Array.from(routerWeights.data), [5, 2]),
 *   hiddenStates: half([5, 16]),
 *   gateUpProj: half([4, 16, 64]),
 *   downProj: half([4, 32, 16]),
 * });
 * assertEquals(output.shape, [5, 16]);
 * ```
 */
export async function experts(
  inputs: ExpertsInputs,
  options: ExpertsOptions & { backend?: Backend | undefined } = {},
): Promise<Tensor> {
  checkExperts(inputs, options);
  const { backend: given } = options;
  if (given !== undefined) {
    if (typeof given?.upload !== "function") {
      throw new TypeError(`backend must be an open backend (see openBackend), got ${describeValue(given)}`);
    }
    return await runOn(given, inputs, options);
  }
  const { openBackend } = await import("./backend.ts");
  using backend = await openBackend("cpu");
  return await runOn(backend, inputs, options);
}

async function runOn(backend: Backend, inputs: ExpertsInputs, options: ExpertsOptions): Promise<Tensor> {
  using scope = new DisposableStack();
  const device = mapInputs(inputs, (tensor) => scope.use(backend.upload(tensor)));
  const output = scope.use(await backend.experts(device, options));
  return await backend.download(output);
}
