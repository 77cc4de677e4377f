import type { Tensor } from "../tensor/tensor.ts";
import { binsShape } from "../contract/ops_shape.ts";
import type { Sorted } from "../contract/ops.ts";
import { checkBelow, checkTensors, onBackend, type OpOptions } from "./host.ts";

/**
 * Sorts small integers, equal ones in the order they come in: assignments by expert.
 *
 * @param values [N], i32, each from 0 to `bins` - 1. A router's indices, [T, K], are sorted as [T · K].
 * @param bins How many values there can be: E. At most 1024 on the GPU.
 * @param options Where to run.
 * @returns The sorted values and where each stood before.
 * @throws {TypeError} If `values` is no tensor of dtype i32.
 * @throws {RangeError} If it has more than one dimension, or a value names no bin.
 *
 * @example Usage
 * ```ts
 * import { ops, tensor } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * const { values, indices } = await ops.sort(tensor(new Int32Array([2, 0, 2, 1])), 3);
 * assertEquals([...values.data], [0, 1, 2, 2]);
 * assertEquals([...indices.data], [1, 3, 0, 2]);
 * ```
 */
export async function sort(values: Tensor, bins: number, options: OpOptions = {}): Promise<Sorted> {
  checkTensors({ values });
  binsShape(values, bins);
  checkBelow("values", values, bins);
  return await onBackend<keyof Sorted>(
    options.backend,
    [values],
    async ({ ops }, [values]) => ({ ...await ops.sort(values!, bins) }),
  );
}
