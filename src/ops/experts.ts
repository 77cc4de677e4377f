import type { Backend } from "../backend/backend.ts";
import type { ExpertsInputs, ExpertsOptions } from "../contract/experts.ts";
import { mapInputs } from "../contract/experts_inputs.ts";
import { checkExperts } from "../contract/resolve_experts.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { uploadWeight, withBackend } from "./host.ts";

/**
 * Runs the experts of a Mixture-of-Experts layer.
 *
 * Each of a token's K assignments goes to one expert. An expert keeps the first `expertCapacity` of its assignments in
 * token order. For a kept assignment with routing weight w, `g = x · gateUp + bias`, and `a` is the activation of `g` (see
 * {@linkcode Activation}; by default that of gpt-oss). The output of a token is the sum of `w · (a · down + bias)` over its
 * kept assignments, plus `addend`. Operands are f16, bf16 or f32; every sum is f32. `a`, each expert's row and the output are
 * rounded to the dtype. The result has the same bits every time.
 *
 * @param inputs The tensors. The CPU backend does not copy those in shared memory (see {@linkcode zeros}).
 * @param options How to compute, and where to run: `backend` is an open backend; by default, a CPU backend is opened for
 * this call and closed after it.
 * @returns The output, [T, H], of the inputs' dtype. A token without a kept assignment gets zeros, plus its addend.
 * @throws {TypeError} If a tensor is missing, has another dtype or its buffer is detached, or a name is unknown.
 * @throws {RangeError} If the shapes do not match, or an index or an option is out of range. All checks come before any
 * work.
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
  const shape = checkExperts(inputs, options);
  const { backend, onProgress } = options;
  return await withBackend(backend, undefined, async (backend) => {
    using scope = new DisposableStack();
    const uploaded = mapInputs(inputs, (tensor) => scope.use(backend.upload(tensor)), uploadWeight(backend, scope));
    const output = scope.use(await backend.runExperts({ inputs: uploaded, shape, onProgress }));
    return await backend.download(output);
  });
}
