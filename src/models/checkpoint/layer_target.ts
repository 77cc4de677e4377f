import type { Backend, BackendTensor, PackedBackendTensor } from "../../backend/backend.ts";
import { describeParts, mapParts, type PackedSpec, type PackedTensor } from "../../tensor/packed_tensor.ts";
import { type DType, type Tensor, type TensorData, zeros } from "../../tensor/tensor.ts";

/** Reads the elements of a tensor from `start` on, as many as the piece has. */
export type ReadElements = (piece: TensorData, start: number) => Promise<void>;

/** Reads the parts of the experts of a packed weight from `first` on, as many as the piece has. */
export type ReadExperts = (piece: PackedTensor, first: number) => Promise<void>;

/** Where the tensors of a layer are read to. */
export interface LayerTarget<Dense, Packed extends PackedSpec> {
  /** Makes a tensor and fills it, in pieces in order. */
  dense(dtype: DType, shape: readonly number[], read: ReadElements): Promise<Dense>;
  /** Makes a weight that stays packed and fills it, in pieces, several at a time. */
  packed(spec: PackedSpec, read: ReadExperts): Promise<Packed>;
}

/** The host's shared memory, which the CPU backend uses without a copy. */
export const hostTarget: LayerTarget<Tensor, PackedTensor> = {
  async dense(dtype, shape, read) {
    const tensor = zeros(dtype, shape);
    await read(tensor.data, 0);
    return tensor;
  },
  async packed(spec, read) {
    const weight = mapParts(describeParts(spec), ({ dtype, shape }) => zeros(dtype, shape));
    await read(weight, 0);
    return weight;
  },
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
    packed: async (spec, read) => scope.use(await backend.uploadPacked(spec, read)),
  };
}
