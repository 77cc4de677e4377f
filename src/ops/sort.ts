import type { Tensor } from "../tensor/tensor.ts";
import { resolveBins } from "../contract/resolve_ops.ts";
import type { Sorted } from "../contract/ops.ts";
import { checkBelow, checkHost, onBackend, type OpOptions } from "./host.ts";

/**
 * Sorts small integers with a stable sort: assignments by expert.
 *
 * @param values [N], i32, each from 0 to `bins` - 1. A router's indices, [T, K], are sorted as [T · K].
 * @param bins The number of possible values: E. At most 1024 on the GPU.
 * @param options Where to run.
 * @returns The sorted values, and the position that each had before.
 * @throws {TypeError} If `values` is not a tensor of dtype i32, or an option is unknown.
 * @throws {RangeError} If `values` does not have one dimension, or a value is out of range.
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
  checkHost({ values }, options);
  const call = resolveBins(values, bins);
  checkBelow("values", values, bins);
  return await onBackend<"values", keyof Sorted>(
    options,
    { values },
    async ({ steps }, tensors) => ({ ...await steps.sort({ ...call, ...tensors }) }),
  );
}
