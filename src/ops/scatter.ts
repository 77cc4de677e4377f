import type { Tensor } from "../tensor/tensor.ts";
import { resolveScatter } from "../contract/resolve_ops.ts";
import { checkBelow, checkCumsum, checkHost, onBackend, type OpOptions } from "./host.ts";

/**
 * Combines the rows of the experts' bins: each token's output is the weighted sum of its K rows, summed in slot order in
 * f32 and rounded once. This is the reverse of {@linkcode gather}. An assignment beyond the capacity contributes nothing.
 *
 * @param source [E, C, H], f16, bf16 or f32.
 * @param indices [T · K], i32: the assignments in expert order, as {@linkcode sort} returns them. Each occurs once.
 * @param cumsum [E], i32: where the assignments of each expert end, as {@linkcode bincountCumsum} returns it.
 * @param weights [T, K], of the dtype of `source`.
 * @param options Where to run.
 * @returns [T, H], of the dtype of `source`.
 * @throws {TypeError} If one is not a tensor or has another dtype, or an option is unknown.
 * @throws {RangeError} If the shapes do not match, or an element is out of range.
 *
 * @example Two tokens of two experts each
 * ```ts
 * import { ops, tensor } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * const experts = tensor(new Int32Array([2, 0, 2, 1])); // token 0 goes to 2 and 0, token 1 to 2 and 1
 * const { indices } = await ops.sort(experts, 3);
 * const { cumsum } = await ops.bincountCumsum(experts, 3);
 * const bins = tensor(new Float32Array([1, 0, 2, 0, 3, 4]), [3, 2, 1]);
 * const weights = tensor(new Float32Array([0.5, 0.5, 0.25, 0.75]), [2, 2]);
 * const output = await ops.scatter(bins, indices, cumsum, weights);
 * assertEquals([...output.data], [0.5 * 3 + 0.5 * 1, 0.25 * 4 + 0.75 * 2]);
 * ```
 */
export async function scatter(
  source: Tensor,
  indices: Tensor,
  cumsum: Tensor,
  weights: Tensor,
  options: OpOptions = {},
): Promise<Tensor> {
  checkHost({ source, indices, cumsum, weights }, options);
  const call = resolveScatter(source, indices, cumsum, weights);
  const { assignments } = call.shape;
  checkBelow("indices", indices, assignments);
  if (new Set(indices.data).size < assignments) {
    throw new RangeError(`indices must hold each integer from 0 to ${assignments - 1} once, got some more than once`);
  }
  checkCumsum(cumsum, assignments);
  if (assignments > 0 && cumsum.data.at(-1) !== assignments) {
    throw new RangeError(
      `cumsum must end with the number of assignments, ${assignments}, got ${cumsum.data.at(-1) ?? "no element"}`,
    );
  }
  const { output } = await onBackend(options, { source, indices, cumsum, weights }, async ({ steps }, tensors) => ({
    output: await steps.scatter({ ...call, ...tensors }),
  }));
  return output;
}
