import { SafetensorsError } from "../safetensors/error.ts";
import { Safetensors } from "../safetensors/safetensors.ts";
import { elementCount, formatShape, type Tensor } from "../tensor/tensor.ts";
import { readIntegers } from "../models/checkpoint/read_integers.ts";
import { plural, quote } from "../text.ts";

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

/**
 * Reads the token ids of a safetensors file, for a layer that chooses experts by them.
 *
 * @param path The file. It has a tensor `input_ids` of integers beside `hidden_states`.
 * @param tokens The number of tokens.
 * @param vocabulary The number of token ids that the layer knows.
 * @throws {SafetensorsError} If the file does not have such a tensor, it has another size, or an id is out of range.
 */
export async function readTokenIds(path: string, tokens: number, vocabulary: number): Promise<Int32Array> {
  const name = "input_ids";
  using file = await Safetensors.open(path);
  if (!file.tensors.has(name)) {
    throw new SafetensorsError(
      `${path}: the layer chooses experts by token id: expected a tensor ${quote(name)} beside "hidden_states"`,
    );
  }
  const ids = await readIntegers(file, name, path);
  const tensor = `${path}: tensor ${quote(name)}`;
  if (ids.length !== tokens) {
    throw new SafetensorsError(`${tensor} must have ${plural(tokens, "token")}, got ${ids.length}`);
  }
  const unknown = ids.find((id) => id < 0 || id >= vocabulary);
  if (unknown === undefined) return ids;
  throw new SafetensorsError(
    `${tensor} must have token ids from 0 to ${vocabulary - 1}, as the layer's token table, got ${unknown}`,
  );
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
