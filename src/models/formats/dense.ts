import { dtypesByStored } from "../../safetensors/safetensors.ts";
import { floats, toF32 } from "./numbers.ts";
import { describe, type Format, matrices, readPartOf, type StoredWeight, type TensorSource } from "./stored_weight.ts";

/** Finds f16, bf16 and f32 weights: `X.weight`, or `X` itself for parameters without a module. */
export const dense: Format = async (source, linear) => {
  const name = [`${linear}.weight`, linear].find((name) => source.has(name));
  if (name === undefined) return undefined;
  const tensor = await describe(source, name, floats);
  const weight = {
    format: tensor.dtype.toLowerCase(),
    shape: tensor.shape,
    dtype: dtypesByStored[tensor.dtype]!,
    tensors: [tensor],
    isDense: true,
  };
  return { ...weight, decode: decoder(source, weight, tensor.shape) };
};

/** Returns a dense weight with another shape of as many elements. */
export function ofParts(source: TensorSource, weight: StoredWeight, shape: readonly number[]): StoredWeight {
  return { ...weight, shape, decode: decoder(source, weight, shape) };
}

function decoder(
  source: TensorSource,
  { tensors: [tensor] }: Pick<StoredWeight, "tensors">,
  shape: readonly number[],
): StoredWeight["decode"] {
  return async (index) => toF32(await readPartOf(source, tensor!, index, matrices(shape)), tensor!.dtype);
}
