import type { BackendTensor } from "../tensor/backend_tensor.ts";
import { mapParts, type PackedTensor } from "../tensor/packed_tensor.ts";

/**
 * Makes the parts of a packed tensor on a backend.
 *
 * @param tensor The packed tensor, or a description of it.
 * @param make Makes one part.
 * @returns The packed tensor on the backend, which owns its parts.
 * @throws The error of `make`. The parts that were made before are disposed.
 */
export function makeParts<From, To extends BackendTensor>(
  tensor: PackedTensor<From>,
  make: (part: From) => To,
): PackedTensor<To> & Disposable {
  using scope = new DisposableStack();
  const made = mapParts(tensor, (part) => scope.use(make(part)));
  const owned = scope.move();
  return { ...made, [Symbol.dispose]: () => owned.dispose() };
}
