import type { Tensor } from "../tensor/tensor.ts";
import { batchedMatmulShape } from "../contract/ops_shape.ts";
import { checkTensors, onBackend, type OpOptions } from "./host.ts";

/**
 * Multiplies the matrices of two batches pairwise: `output[i] = a[i] · b[i]`, summed in f32 and rounded once.
 *
 * @param a [B, M, D], f16, bf16 or f32.
 * @param b [B, D, N], of the same dtype. On the GPU, D and N must be multiples of 8.
 * @param options Where to run.
 * @returns [B, M, N], of the same dtype.
 * @throws {TypeError} If one is no tensor or of another dtype.
 * @throws {RangeError} If a shape does not fit the other.
 *
 * @example Usage
 * ```ts
 * import { ops, tensor } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * const a = tensor(new Float32Array([1, 2, 3, 4]), [2, 1, 2]);
 * const b = tensor(new Float32Array([1, 10, 100, 1000]), [2, 2, 1]);
 * assertEquals([...(await ops.batchedMatmul(a, b)).data], [1 + 20, 300 + 4000]);
 * ```
 */
export async function batchedMatmul(a: Tensor, b: Tensor, options: OpOptions = {}): Promise<Tensor> {
  checkTensors({ a, b });
  batchedMatmulShape(a, b);
  const { output } = await onBackend(options.backend, [a, b], async ({ ops }, [a, b]) => ({
    output: await ops.batchedMatmul(a!, b!),
  }));
  return output;
}
