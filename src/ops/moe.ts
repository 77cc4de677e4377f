import type { Backend } from "../backend/backend.ts";
import type { MoeLayer, MoeOptions } from "../contract/moe.ts";
import { checkMoe, mapLayer } from "../contract/moe_shape.ts";
import { openBackend } from "../open_backend.ts";
import type { Tensor } from "../tensor/tensor.ts";

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
  using backend = await openBackend("cpu");
  return await runOn(backend, hidden, layer, options);
}

async function runOn(backend: Backend, hidden: Tensor, layer: MoeLayer, options: MoeOptions): Promise<Tensor> {
  using scope = new DisposableStack();
  const upload = (tensor: Tensor) => scope.use(backend.upload(tensor));
  const output = scope.use(await backend.moe(upload(hidden), mapLayer(layer, upload), options));
  return await backend.download(output);
}
