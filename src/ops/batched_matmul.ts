import type { Tensor } from "../tensor/tensor.ts";
import { resolveBatchedMatmul } from "../contract/resolve_ops.ts";
import { checkHost, onBackend, type OpOptions } from "./host.ts";

/**
 * Multiplies the matrices of two batches pairwise: `output[i] = a[i] · b[i]`. Sums in f32 and rounds once.
 *
 * @param a [B, M, D], f16, bf16 or f32.
 * @param b [B, D, N], of the same dtype.
 * @param options Where to run.
 * @returns [B, M, N], of the same dtype.
 * @throws {TypeError} If one is not a tensor or has another dtype, or an option is unknown.
 * @throws {RangeError} If the shapes do not match.
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
  checkHost({ a, b }, options);
  const call = resolveBatchedMatmul(a, b);
  const { output } = await onBackend(options, { a, b }, async ({ steps }, tensors) => ({
    output: await steps.batchedMatmul({ ...call, ...tensors }),
  }));
  return output;
}
