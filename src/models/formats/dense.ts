import { dtypesByStored } from "../../safetensors/safetensors.ts";
import { floats, toF32 } from "./numbers.ts";
import { describe, type Format, matrices, readPartOf } from "./stored_weight.ts";

/** Finds f16, bf16 and f32 weights: `X.weight`, or `X` itself for parameters without a module. */
export const dense: Format = async (source, linear) => {
  const name = [`${linear}.weight`, linear].find((name) => source.has(name));
  if (name === undefined) return undefined;
  const tensor = await describe(source, name, floats);
  return {
    format: tensor.dtype.toLowerCase(),
    shape: tensor.shape,
    dtype: dtypesByStored[tensor.dtype]!,
    tensors: [tensor],
    isDense: true,
    decode: async (index) => toF32(await readPartOf(source, tensor, index, matrices(tensor.shape)), tensor.dtype),
  };
};
