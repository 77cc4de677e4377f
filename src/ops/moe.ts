import type { Backend } from "../backend/backend.ts";
import type { MoeLayer, MoeOptions } from "../contract/moe.ts";
import { runMoe } from "../backend/run_moe.ts";
import { checkMoe, mapLayer } from "../contract/resolve_moe.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { uploadWeight, withBackend } from "./host.ts";

/**
 * Runs a Mixture-of-Experts layer: the router's linear layer, `logits = x · weightᵀ + bias`, the routing (see
 * {@linkcode route}), the experts (see {@linkcode experts}), and the shared expert, whose output is added.
 *
 * The logits, the routing weights and the sum of all experts are f32. Each activation, each expert's row and the output are
 * rounded to the dtype of the hidden states. With the router kind `"sigmoid-input"`, the weights multiply the experts'
 * input; they are applied to the f32 sums of the first product. Nothing is copied to the host between these steps, except
 * in a layer with a token table, norms, a cap of the logits or a scale of each expert.
 *
 * @param hidden [T, H], f16, bf16 or f32.
 * @param layer The layer's tensors and how it computes.
 * @param options The capacity, and where to run: `backend` is an open backend; by default, a CPU backend is opened for this
 * call and closed after it. To run a layer many times, upload its tensors once and call {@linkcode Backend.moe}.
 * @returns The output, [T, H], of the dtype of `hidden`. The layer's input is not added to it.
 * @throws {TypeError} If a tensor is missing, has another dtype or its buffer is detached, or a name is unknown.
 * @throws {RangeError} If the shapes do not match, or an option is out of range. All checks come before any work.
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
  const shape = checkMoe(hidden, layer, options);
  const { backend, onProgress, tokenIds } = options;
  return await withBackend(backend, undefined, async (backend) => {
    using scope = new DisposableStack();
    const upload = (tensor: Tensor) => scope.use(backend.upload(tensor));
    const call = {
      hidden: upload(hidden),
      layer: mapLayer(layer, upload, uploadWeight(backend, scope)),
      shape,
      onProgress,
      tokenIds,
    };
    return await backend.download(scope.use(await runMoe(backend, call)));
  });
}
