import type { BackendTensor, PackedBackendTensor } from "../tensor/backend_tensor.ts";
import { checkPacked } from "../tensor/packed.ts";
import { mapParts, type PackedTensor } from "../tensor/packed_tensor.ts";
import type { Tensor } from "../tensor/tensor.ts";

/**
 * Uploads the parts of a packed tensor.
 *
 * @param tensor The packed tensor.
 * @param upload Uploads one part.
 * @returns The packed tensor on the backend, which owns its parts.
 * @throws {TypeError} If the tensor is malformed.
 * @throws {RangeError} If the allocation fails. The parts that were uploaded are disposed.
 */
export function uploadParts(tensor: PackedTensor, upload: (part: Tensor) => BackendTensor): PackedBackendTensor {
  checkPacked("tensor", tensor);
  using scope = new DisposableStack();
  const uploaded = mapParts(tensor, (part) => scope.use(upload(part)));
  const owned = scope.move();
  return { ...uploaded, [Symbol.dispose]: () => owned.dispose() };
}
