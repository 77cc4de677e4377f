/**
 * A whole Mixture-of-Experts layer as one call: router, experts, and a shared expert where the model has one.
 *
 * @module
 */
import type { Backend } from "./backend.ts";
import type { ExpertsInputs, ExpertsOptions } from "./experts.ts";
import { checkMoe, mapLayer } from "./moe_shape.ts";
import type { RouterOptions } from "./router.ts";
import type { DType, Tensor } from "./tensor.ts";

/**
 * The weights of experts, and how they compute: the tensors and options of {@linkcode experts} by the same names.
 *
 * @typeParam T A tensor on the host, or one that a backend holds.
 */
export interface ExpertsLayer<T = Tensor>
  extends
    Pick<ExpertsInputs<T>, "gateUpProj" | "gateUpProjBias" | "downProj" | "downProjBias">,
    Readonly<
      Pick<
        ExpertsOptions,
        "activation" | "activationAlpha" | "activationLimit" | "gated" | "gateUpLayout" | "weightLayout"
      >
    > {}

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

/**
 * Runs a Mixture-of-Experts layer: `logits = x · weightᵀ + bias`, what the router makes of them (see {@linkcode route}), the
 * experts with the router's weights (see {@linkcode experts}), and the shared expert's output added to that.
 *
 * The router's product, its weights and the sum of all experts stay f32, so that a layer is as accurate as its experts: what is
 * rounded to the dtype of the hidden states is each activation, each expert's row and the output. With the router kind
 * `"sigmoid-input"` the weights multiply the experts' input, by way of its products, which are f32. Nothing leaves the device
 * between these steps.
 *
 * @param hidden [T, H], f16, bf16 or f32.
 * @param layer The layer's tensors and how it computes.
 * @param options The capacity, and where to run: `backend` is an open backend to use; without one, a CPU backend is opened
 * for this call and closed after it. To run a layer many times, upload its tensors once and call {@linkcode Backend.moe}.
 * @returns The output, [T, H], of the dtype of `hidden`. It does not have the layer's input added to it.
 * @throws {TypeError} If a tensor is missing, has another dtype or its buffer is detached.
 * @throws {RangeError} If a shape does not fit the others, or an option is out of range. All before any work.
 *
 * @example A layer of four experts, two for each token, as in Mixtral
 * ```ts
 * import { convert, Generator, moe } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * const random = new Generator(0);
 * const half = (...shape: number[]) => convert(random.randn(shape), "f16");
 * const output = await moe(half(5, 16), {
 *   router: { weight: half(4, 16), options: { kind: "softmax-renormalize", topK: 2 } },
 *   gateUpProj: half(4, 16, 64),
 *   downProj: half(4, 32, 16),
 * });
 * assertEquals(output.shape, [5, 16]);
 * ```
 */
export async function moe(
  hidden: Tensor,
  layer: MoeLayer,
  options: MoeOptions & { backend?: Backend | undefined } = {},
): Promise<Tensor> {
  checkMoe(hidden, layer, options);
  if (options.backend) return await runOn(options.backend, hidden, layer, options);
  const { openBackend } = await import("./backend.ts");
  using backend = await openBackend("cpu");
  return await runOn(backend, hidden, layer, options);
}

async function runOn(backend: Backend, hidden: Tensor, layer: MoeLayer, options: MoeOptions): Promise<Tensor> {
  using scope = new DisposableStack();
  const upload = (tensor: Tensor) => scope.use(backend.upload(tensor));
  const output = scope.use(await backend.moe(upload(hidden), mapLayer(layer, upload), options));
  return await backend.download(output);
}
