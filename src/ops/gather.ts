import type { Tensor } from "../tensor/tensor.ts";
import { resolveGather } from "../contract/resolve_ops.ts";
import type { GatherOptions } from "../contract/ops.ts";
import { checkBelow, checkCumsum, checkHost, onBackend, type OpOptions } from "./host.ts";

/**
 * Gathers tokens into one bin per expert: row c of bin e is the token of the c-th assignment of expert e. Missing rows are
 * zeros; assignments beyond the capacity are left out.
 *
 * @param source [T, H], f16, bf16 or f32: the tokens.
 * @param indices [T · K], i32: the assignments in expert order, as {@linkcode sort} returns them.
 * @param cumsum [E], i32: where the assignments of each expert end, as {@linkcode bincountCumsum} returns it.
 * @param options The capacity C; K, 1 by default; and where to run.
 * @returns [E, C, H], of the dtype of `source`.
 * @throws {TypeError} If one is not a tensor or has another dtype, or an option is unknown.
 * @throws {RangeError} If the shapes do not match, or an element is out of range.
 *
 * @example Two tokens of two experts each
 * ```ts
 * import { ops, tensor } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * const tokens = tensor(new Float32Array([1, 2]), [2, 1]);
 * const experts = tensor(new Int32Array([2, 0, 2, 1])); // token 0 goes to 2 and 0, token 1 to 2 and 1
 * const { indices } = await ops.sort(experts, 3);
 * const { cumsum } = await ops.bincountCumsum(experts, 3);
 * const bins = await ops.gather(tokens, indices, cumsum, { topK: 2, capacity: 2 });
 * assertEquals(bins.shape, [3, 2, 1]);
 * assertEquals([...bins.data], [1, 0, 2, 0, 1, 2]);
 * ```
 */
export async function gather(
  source: Tensor,
  indices: Tensor,
  cumsum: Tensor,
  options: GatherOptions & OpOptions,
): Promise<Tensor> {
  checkHost({ source, indices, cumsum });
  const call = resolveGather(source, indices, cumsum, options);
  const { assignments } = call.shape;
  checkBelow("indices", indices, assignments);
  checkCumsum(cumsum, assignments);
  const { output } = await onBackend(options, { source, indices, cumsum }, async ({ steps }, tensors) => ({
    output: await steps.gather({ ...call, ...tensors }),
  }));
  return output;
}
