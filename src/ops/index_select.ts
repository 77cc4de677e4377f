import type { Tensor } from "../tensor/tensor.ts";
import { resolveIndexSelect } from "../contract/resolve_ops.ts";
import { checkBelow, checkHost, onBackend, type OpOptions } from "./host.ts";

/**
 * Selects rows by index: `output[i] = source[indices[i]]`. An index may occur more than once.
 *
 * @param source [R, …], of any dtype. On a GPU, a row of u8 has an even number of elements.
 * @param indices [M], i32, each from 0 to R - 1.
 * @param options Where to run.
 * @returns [M, …], of the dtype of `source`.
 * @throws {TypeError} If one is not a tensor, `indices` is not of dtype i32, or an option is unknown.
 * @throws {RangeError} If `indices` does not have one dimension, or an index is out of range.
 *
 * @example Usage
 * ```ts
 * import { ops, tensor } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * const source = tensor(new Float32Array([0, 1, 10, 11, 20, 21]), [3, 2]);
 * const rows = await ops.indexSelect(source, tensor(new Int32Array([2, 2, 0])));
 * assertEquals([...rows.data], [20, 21, 20, 21, 0, 1]);
 * ```
 */
export async function indexSelect(source: Tensor, indices: Tensor, options: OpOptions = {}): Promise<Tensor> {
  checkHost({ source, indices }, options);
  const call = resolveIndexSelect(source, indices);
  checkBelow("indices", indices, source.shape[0] ?? 0);
  const { output } = await onBackend(options, { source, indices }, async ({ steps }, tensors) => ({
    output: await steps.indexSelect({ ...call, ...tensors }),
  }));
  return output;
}
