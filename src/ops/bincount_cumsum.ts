import type { Tensor } from "../tensor/tensor.ts";
import { resolveBins } from "../contract/resolve_ops.ts";
import type { BinCounts } from "../contract/ops.ts";
import { checkBelow, checkHost, onBackend, type OpOptions } from "./host.ts";

/**
 * Counts how often each small integer occurs, and sums the counts: the tokens of each expert, and where the tokens of each
 * expert end after sorting.
 *
 * @param values [N], i32, each from 0 to `bins` - 1, in any order.
 * @param bins The number of possible values: E. At most 1024 on the GPU.
 * @param options Where to run.
 * @returns The counts and their inclusive running sum, whose last element is N.
 * @throws {TypeError} If `values` is not a tensor of dtype i32, or an option is unknown.
 * @throws {RangeError} If `values` does not have one dimension, or a value is out of range.
 *
 * @example Usage
 * ```ts
 * import { ops, tensor } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * const { counts, cumsum } = await ops.bincountCumsum(tensor(new Int32Array([2, 0, 2, 1])), 3);
 * assertEquals([...counts.data], [1, 1, 2]);
 * assertEquals([...cumsum.data], [1, 2, 4]);
 * ```
 */
export async function bincountCumsum(values: Tensor, bins: number, options: OpOptions = {}): Promise<BinCounts> {
  checkHost({ values }, options);
  const call = resolveBins(values, bins);
  checkBelow("values", values, bins);
  return await onBackend<"values", keyof BinCounts>(
    options,
    { values },
    async ({ steps }, tensors) => ({ ...await steps.bincountCumsum({ ...call, ...tensors }) }),
  );
}
