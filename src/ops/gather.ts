import type { Tensor } from "../tensor/tensor.ts";
import { gatherShape } from "../contract/ops_shape.ts";
import type { GatherOptions } from "../contract/ops.ts";
import { checkBelow, checkCumsum, checkTensors, onBackend, type OpOptions } from "./host.ts";

/**
 * Gathers tokens into a bin for each expert: row c of bin e is the token of the c-th of e's assignments. Rows that are left
 * over are zeros; assignments that find no row are left out.
 *
 * @param source [T, H], f16, bf16 or f32: the tokens.
 * @param indices [T · K], i32: the assignments in expert order, as {@linkcode sort} returns them.
 * @param cumsum [E], i32: where each expert's end, as {@linkcode bincountCumsum} returns it.
 * @param options C, the rows of a bin; K, by default 1; and where to run.
 * @returns [E, C, H], of the dtype of `source`.
 * @throws {TypeError} If one is no tensor or of another dtype.
 * @throws {RangeError} If a shape does not fit the others, or an element is out of range.
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
  checkTensors({ source, indices, cumsum });
  const { assignments } = gatherShape(source, indices, cumsum, options);
  checkBelow("indices", indices, assignments);
  checkCumsum(cumsum, assignments);
  const { output } = await onBackend(
    options.backend,
    [source, indices, cumsum],
    async ({ ops }, [source, indices, cumsum]) => ({
      output: await ops.gather(source!, indices!, cumsum!, options),
    }),
  );
  return output;
}
