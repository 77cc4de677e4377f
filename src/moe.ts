/**
 * A whole Mixture-of-Experts layer as one call: router, experts, and a shared expert where the model has one.
 *
 * @module
 */
import type { Backend } from "./backend.ts";
import { experts, type ExpertsInputs, type ExpertsOptions } from "./experts.ts";
import { checkMoe, expertsOptions } from "./moe_shape.ts";
import type { RouterOptions } from "./router.ts";
import { route } from "./routing.ts";
import { convert, type DType, type Tensor, zeros } from "./tensor.ts";

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
   * What the logits are rounded to before they are decided on: models whose router is a plain linear layer round them to
   * their own dtype; others (DeepSeek-V3, Kimi, GLM) make a point of f32.
   *
   * @default {the dtype of the hidden states}
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
 * The router's product is summed in f32 and rounded once, to `logitsDType`; its weights are rounded to the dtype of the
 * hidden states. With the router kind `"sigmoid-input"` they multiply the experts' input, with one more rounding.
 *
 * @param hidden [T, H], f16, bf16 or f32.
 * @param layer The layer's tensors and how it computes.
 * @param options The capacity, and where to run: `backend` is an open backend to use; without one, a CPU backend is opened
 * for this call and closed after it.
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
  const { dtype, shape: [tokens, width] } = hidden;
  const { router, sharedExpert } = layer;
  const logits = linear(hidden, router.weight, router.bias, router.logitsDType ?? dtype);
  const { routerIndices, routerWeights, inputWeights } = route(logits, router.options);
  const topK = routerIndices.shape[1]!;
  const output = inputWeights
    ? sumRows(
      await experts({
        ...layer,
        hiddenStates: scaleRows(hidden, inputWeights),
        routerIndices: { ...routerIndices, shape: [tokens! * topK, 1] },
        routingWeights: convert({ ...routerWeights, shape: [tokens! * topK, 1] }, dtype),
      }, { ...expertsOptions(layer), ...options, backend }),
      topK,
    )
    : await experts({
      ...layer,
      hiddenStates: hidden,
      routerIndices,
      routingWeights: convert(routerWeights, dtype),
    }, { ...expertsOptions(layer), ...options, backend });
  if (!sharedExpert) return output;
  const { gate } = sharedExpert;
  const gateLogits = gate ? linear(hidden, gate, undefined, dtype) : zeros("f32", [tokens!, 1]);
  const shared = route(
    gateLogits,
    gate ? { kind: "sigmoid", topK: 1, renormalize: false } : { kind: "topk-softmax", topK: 1 },
  );
  const { batchInvariant } = options;
  const addend = await experts({
    ...sharedExpert,
    hiddenStates: hidden,
    routerIndices: shared.routerIndices,
    routingWeights: convert(shared.routerWeights, dtype),
  }, { ...expertsOptions(sharedExpert), batchInvariant, backend });
  const sum = zeros("f32", [tokens!, width!]);
  const [a, b] = [convert(output, "f32").data, convert(addend, "f32").data];
  for (let i = 0; i < sum.data.length; i++) sum.data[i] = a[i]! + b[i]!;
  return convert(sum, dtype);
}

/** input · weightᵀ + bias, summed in double precision. */
function linear(input: Tensor, weight: Tensor, bias: Tensor | undefined, dtype: DType): Tensor {
  const [rows, depth] = input.shape as [number, number];
  const columns = weight.shape[0]!;
  const x = convert(input, "f32").data, w = convert(weight, "f32").data, b = bias && convert(bias, "f32").data;
  const result = zeros("f32", [rows, columns]);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      let sum = b?.[c] ?? 0;
      for (let k = 0; k < depth; k++) sum += x[r * depth + k]! * w[c * depth + k]!;
      result.data[r * columns + c] = sum;
    }
  }
  return convert(result, dtype);
}

/** [T · K, H]: each token's row times each of its weights. */
function scaleRows(hidden: Tensor, weights: Tensor): Tensor {
  const [tokens, width] = hidden.shape as [number, number];
  const topK = weights.shape[1]!;
  const x = convert(hidden, "f32").data;
  const result = zeros("f32", [tokens * topK, width]);
  for (let i = 0; i < result.data.length; i++) {
    const row = Math.floor(i / width);
    result.data[i] = x[Math.floor(row / topK) * width + i % width]! * weights.data[row]!;
  }
  return convert(result, hidden.dtype);
}

/** [T, H]: the sums of each token's K rows. */
function sumRows(rows: Tensor, topK: number): Tensor {
  const [count, width] = rows.shape as [number, number];
  const x = convert(rows, "f32").data;
  const result = zeros("f32", [count / topK, width]);
  for (let i = 0; i < x.length; i++) result.data[Math.floor(i / width / topK) * width + i % width]! += x[i]!;
  return convert(result, rows.dtype);
}
