import type { Tensor } from "../tensor/tensor.ts";

/**
 * Reads a weight of one routed expert to the host: [1, ...], decoded to the dtype of the activations. Needed for packed weights,
 * because a backend may store them in an order of its own.
 */
export type WeightReader = (name: "gateUpProj" | "downProj", expert: number) => Promise<Tensor>;
