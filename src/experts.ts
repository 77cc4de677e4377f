/**
 * The op `experts`: a Mixture-of-Experts layer's expert computation, its contract and its checks.
 *
 * @module
 */
import type { Backend } from "./backend.ts";
import { checkExperts, mapInputs } from "./experts_shape.ts";
import type { Tensor } from "./tensor.ts";

/**
 * What {@linkcode experts} computes with. T tokens, H hidden size, I intermediate size, E experts, K experts per token.
 *
 * @typeParam T A tensor on the host, or one that a backend holds.
 */
export interface ExpertsInputs<T = Tensor> {
  /** [T, H], f16: what the layer gets. */
  readonly hiddenStates: T;
  /** [T, K], i32: the experts of each token, each from 0 to E - 1. */
  readonly routerIndices: T;
  /** f16: the weights of those experts, [T, K] in the order of `routerIndices`, or dense, [T, E], one for every expert. */
  readonly routingWeights: T;
  /** [E, H, 2I], f16: the gate in the even columns, the up projection in the odd ones. */
  readonly gateUpProj: T;
  /** [E, 2I], f16. */
  readonly gateUpProjBias?: T | undefined;
  /** [E, I, H], f16. */
  readonly downProj: T;
  /** [E, H], f16. */
  readonly downProjBias?: T | undefined;
}

/** Options of {@linkcode experts}. */
export interface ExpertsOptions {
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

/** Constants of the activation: gate · sigmoid(alpha · gate) · (up + 1), gate ≤ limit, |up| ≤ limit. */
export const activation = { alpha: 1.702, limit: 7 } as const;

/**
 * Runs the experts of a Mixture-of-Experts layer.
 *
 * Each of a token's K assignments goes to one expert; an expert keeps the first `expertCapacity` of its assignments in
 * token order. For a kept assignment with routing weight w, `g = x · gateUp + bias`, `gate = min(g_even, 7)`,
 * `up = clamp(g_odd, -7, 7)`, `a = gate · sigmoid(1.702 · gate) · (up + 1)`, and the token's output grows by
 * `w · (a · down + bias)`. Operands are f16, every sum is f32. The result is the same bits every time.
 *
 * @param inputs The tensors. Those in shared memory (see {@linkcode zeros}) reach the CPU backend without a copy.
 * @param options The capacity, and where to run: `backend` is an open backend to use; without one, a CPU backend is
 * opened for this call and closed after it.
 * @returns The output, [T, H], f16. A token whose every assignment was dropped gets zeros.
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
  if (options.backend) return await runOn(options.backend, inputs, options);
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
