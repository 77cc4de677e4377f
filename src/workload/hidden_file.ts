import { SafetensorsError } from "../safetensors/error.ts";
import { Safetensors } from "../safetensors/safetensors.ts";
import { elementCount, formatShape, type Tensor } from "../tensor/tensor.ts";
import { quote } from "../text.ts";

/**
 * Reads the hidden states of a safetensors file and merges their leading dimensions.
 *
 * @param path The file. It has one tensor, or one that is named `hidden_states`, in f16, bf16 or f32.
 * @returns The hidden states, [T, H], and their shape in the file.
 * @throws {SafetensorsError} If the file does not have such a tensor.
 */
export async function readHidden(path: string): Promise<{ hidden: Tensor; shape: readonly number[] }> {
  using file = await Safetensors.open(path);
  const { name, shape } = describeHidden(file, path);
  const input = await file.read(name);
  return { hidden: { ...input, shape: [elementCount(shape.slice(0, -1)), shape.at(-1) ?? 0] }, shape };
}

/** Reads the shape of the hidden states of a file, without their elements. */
export async function hiddenShape(path: string): Promise<readonly number[]> {
  using file = await Safetensors.open(path);
  return describeHidden(file, path).shape;
}

function describeHidden(file: Safetensors, path: string): { name: string; shape: readonly number[] } {
  const names = [...file.tensors.keys()];
  const name = names.length === 1 && names[0] !== undefined ? names[0] : "hidden_states";
  if (!file.tensors.has(name)) {
    throw new SafetensorsError(
      `${path}: expected one tensor, or one named "hidden_states", got ${names.length} tensors`,
    );
  }
  const { dtype, shape } = file.describe(name);
  if (!["F16", "BF16", "F32"].includes(dtype) || shape.length < 2) {
    throw new SafetensorsError(
      `${path}: tensor ${quote(name)} must be F16, BF16 or F32 of shape [T, H], got ${dtype} ${formatShape(shape)}`,
    );
  }
  return { name, shape };
}
