// Small checkpoints for tests.
import { type Tensor, tensor, writeSafetensors } from "../../mod.ts";
import { member } from "../safetensors/files.ts";

/** Sizes of the small layers: experts, hidden, intermediate. */
export const [E, H, I] = [3, 4, 2];

/** Makes zeros, except for the last number, which identifies the tensor. */
export function numbered(shape: readonly number[], mark = 0): Tensor {
  const data = new Float32Array(shape.reduce((a, b) => a * b));
  data[data.length - 1] = mark;
  return tensor(data, shape);
}

/** Makes Mixtral's layers with the given numbers. */
export function mixtral(...layers: number[]): Record<string, Tensor> {
  const tensors: Record<string, Tensor> = { "lm_head.weight": numbered([2, 2]) };
  for (const layer of layers) {
    const base = `model.layers.${layer}.block_sparse_moe.`;
    tensors[`${base}gate.weight`] = numbered([E, H]);
    for (let e = 0; e < E; e++) {
      tensors[`${base}experts.${e}.w1.weight`] = numbered([I, H], 100 * layer + 10 * e + 1);
      tensors[`${base}experts.${e}.w2.weight`] = numbered([H, I], 100 * layer + 10 * e + 2);
      tensors[`${base}experts.${e}.w3.weight`] = numbered([I, H], 100 * layer + 10 * e + 3);
    }
  }
  return tensors;
}

/** Makes Mixtral's layer 0 under another module name or prefix. */
export function renamed(from: string, to: string, layer = 0): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(mixtral(layer)).map(([key, value]) => [key.replace(from, to), value]));
}

/** Returns Mixtral's layer 0 without a tensor. */
export function without(name: string): Record<string, Tensor> {
  const { [name]: _removed, ...rest } = mixtral(0);
  return rest;
}

/** The files of a checkpoint. */
export interface Files {
  /** The tensors of model.safetensors. */
  readonly tensors?: Record<string, Tensor>;
  /** The text of config.json. */
  readonly config?: string;
  /** Other files, by name. */
  readonly other?: Readonly<Record<string, string | Uint8Array>>;
}

/** Writes a checkpoint into a temporary directory, which is removed after `use`. */
export async function inDirectory(
  { tensors, config, other = {} }: Files,
  use: (directory: string) => Promise<void>,
): Promise<void> {
  const directory = await Deno.makeTempDir();
  try {
    if (tensors) await writeSafetensors(`${directory}/model.safetensors`, tensors);
    if (config) await Deno.writeTextFile(`${directory}/config.json`, config);
    for (const [name, content] of Object.entries(other)) {
      await Deno.writeFile(
        `${directory}/${name}`,
        typeof content === "string" ? new TextEncoder().encode(content) : content,
      );
    }
    await use(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** A tensor of any dtype that a file can have. */
export interface StoredData {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: ArrayBufferView<ArrayBuffer>;
}

/** Encodes a safetensors file with tensors of any dtype. */
export function encodeStored(tensors: readonly StoredData[]): Uint8Array {
  let end = 0;
  const members = tensors.map(({ name, dtype, shape, data }) =>
    member(name, dtype, [...shape], end, end += data.byteLength)
  );
  const header = new TextEncoder().encode(`{${members.join(",")}}`);
  const bytes = new Uint8Array(8 + header.length + end);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true);
  bytes.set(header, 8);
  let at = 8 + header.length;
  for (const { data } of tensors) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return bytes;
}
