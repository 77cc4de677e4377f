import type { Backend } from "../backend/backend.ts";
import type { ExpertsInputs, ExpertsOptions } from "../contract/experts.ts";
import { checkExperts, mapInputs } from "../contract/experts_shape.ts";
import { openBackend } from "../open_backend.ts";
import { describeValue, type Tensor } from "../tensor/tensor.ts";

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
  using backend = await openBackend("cpu");
  return await runOn(backend, inputs, options);
}

async function runOn(backend: Backend, inputs: ExpertsInputs, options: ExpertsOptions): Promise<Tensor> {
  using scope = new DisposableStack();
  const device = mapInputs(inputs, (tensor) => scope.use(backend.upload(tensor)));
  const output = scope.use(await backend.experts(device, options));
  return await backend.download(output);
}
