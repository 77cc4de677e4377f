import type { Backend, BackendTensor, PackedBackendTensor } from "../../backend/backend.ts";
import type { PackedTensor } from "../../tensor/packed_tensor.ts";
import { type DType, type Tensor, type TensorData, zeros } from "../../tensor/tensor.ts";

/** Reads the elements of a tensor from `start` on, as many as the piece has. */
export type ReadElements = (piece: TensorData, start: number) => Promise<void>;

/** Where the tensors of a layer are read to. */
export interface LayerTarget<Dense, Packed> {
  /** Makes a tensor and fills it, in pieces in order. */
  dense(dtype: DType, shape: readonly number[], read: ReadElements): Promise<Dense>;
  /** Makes a weight that stays packed. */
  packed(weight: PackedTensor): Packed;
}

/** The host's shared memory, which the CPU backend uses without a copy. */
export const hostTarget: LayerTarget<Tensor, PackedTensor> = {
  async dense(dtype, shape, read) {
    const tensor = zeros(dtype, shape);
    await read(tensor.data, 0);
    return tensor;
  },
  packed: (weight) => weight,
};

/** A backend. A GPU's tensors are read piece by piece through a small buffer. A scope owns the tensors. */
export function backendTarget(
  backend: Backend,
  scope: DisposableStack,
): LayerTarget<BackendTensor, PackedBackendTensor> {
  return {
    async dense(dtype, shape, read) {
      const tensor = scope.use(backend.allocate(dtype, shape));
      await backend.fill(tensor, read);
      return tensor;
    },
    packed: (weight) => scope.use(backend.upload(weight)),
  };
}
