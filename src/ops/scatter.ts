import type { Tensor } from "../tensor/tensor.ts";
import { scatterShape } from "../contract/ops_shape.ts";
import { checkBelow, checkCumsum, checkTensors, onBackend, type OpOptions } from "./host.ts";

/**
 * Brings the rows of the experts' bins back to their tokens: each token's output is the sum of its K rows times their
 * weights, in slot order and in f32, rounded once. It is the way back from {@linkcode gather}; an assignment that found no
 * row there contributes nothing.
 *
 * @param source [E, C, H], f16, bf16 or f32.
 * @param indices [T · K], i32: the assignments in expert order, as {@linkcode sort} returns them. Each occurs once.
 * @param cumsum [E], i32: where each expert's end, as {@linkcode bincountCumsum} returns it.
 * @param weights [T, K], of the dtype of `source`.
 * @param options Where to run.
 * @returns [T, H], of the dtype of `source`.
 * @throws {TypeError} If one is no tensor or of another dtype.
 * @throws {RangeError} If a shape does not fit the others, or an element is out of range.
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
  checkTensors({ source, indices, cumsum, weights });
  const { assignments } = scatterShape(source, indices, cumsum, weights);
  checkBelow("indices", indices, assignments);
  if (new Set(indices.data).size < assignments) {
    throw new RangeError(`indices must hold each integer from 0 to ${assignments - 1} once, got some twice`);
  }
  checkCumsum(cumsum, assignments);
  if (assignments > 0 && cumsum.data.at(-1) !== assignments) {
    throw new RangeError(`cumsum must end with the number of assignments, ${assignments}, got ${cumsum.data.at(-1)}`);
  }
  const { output } = await onBackend(
    options.backend,
    [source, indices, cumsum, weights],
    async ({ ops }, [source, indices, cumsum, weights]) => ({
      output: await ops.scatter(source!, indices!, cumsum!, weights!),
    }),
  );
  return output;
}
