import type { Tensor } from "../tensor/tensor.ts";
import { indexSelectShape } from "../contract/ops_shape.ts";
import { checkBelow, checkTensors, onBackend, type OpOptions } from "./host.ts";

/**
 * Selects rows by their index, as often as it comes: `output[i] = source[indices[i]]`.
 *
 * @param source [R, …], of any dtype.
 * @param indices [M], i32, each from 0 to R - 1.
 * @param options Where to run.
 * @returns [M, …], of the dtype of `source`.
 * @throws {TypeError} If one is no tensor, or `indices` is not of dtype i32.
 * @throws {RangeError} If `indices` has more than one dimension, or an index names no row.
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
  checkTensors({ source, indices });
  indexSelectShape(source, indices);
  checkBelow("indices", indices, source.shape[0]!);
  const { output } = await onBackend(options.backend, [source, indices], async ({ ops }, [source, indices]) => ({
    output: await ops.indexSelect(source!, indices!),
  }));
  return output;
}
