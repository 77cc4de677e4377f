import type { Tensor } from "../tensor/tensor.ts";
import { binsShape } from "../contract/ops_shape.ts";
import type { BinCounts } from "../contract/ops.ts";
import { checkBelow, checkTensors, onBackend, type OpOptions } from "./host.ts";

/**
 * Counts how often each of some small integers occurs, and adds the counts up: tokens of each expert, and where each
 * expert's end once they are sorted.
 *
 * @param values [N], i32, each from 0 to `bins` - 1, in any order.
 * @param bins How many values there can be: E. At most 1024 on the GPU.
 * @param options Where to run.
 * @returns The counts and their running sum, which includes the value's own count: the last is N.
 * @throws {TypeError} If `values` is no tensor of dtype i32.
 * @throws {RangeError} If it has more than one dimension, or a value names no bin.
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
  checkTensors({ values });
  binsShape(values, bins);
  checkBelow("values", values, bins);
  return await onBackend<keyof BinCounts>(
    options.backend,
    [values],
    async ({ ops }, [values]) => ({ ...await ops.bincountCumsum(values!, bins) }),
  );
}
