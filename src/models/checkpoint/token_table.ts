// Tables from token ids to experts (DeepSeek-V4's first layers).
import { SafetensorsError } from "../../safetensors/error.ts";
import type { StoredTensor } from "../../safetensors/header.ts";
import { formatShape, type Tensor, tensor } from "../../tensor/tensor.ts";
import { quote } from "../../text.ts";

/** What integers can be read from: a file, or a checkpoint of several. */
export interface IntegerSource {
  describe(name: string): StoredTensor | Promise<StoredTensor>;
  readBytes(name: string, target: Uint8Array, start?: number): Promise<void>;
}

/**
 * Reads a tensor of 32-bit or 64-bit integers.
 *
 * @throws {SafetensorsError} If the tensor has another dtype.
 */
export async function readIntegers(source: IntegerSource, name: string, path: string): Promise<number[]> {
  const { dtype, byteLength } = await source.describe(name);
  if (dtype !== "I64" && dtype !== "I32") {
    throw new SafetensorsError(`${path}: tensor ${quote(name)} must be of dtype I64, I32, got ${dtype}`);
  }
  const bytes = new Uint8Array(byteLength);
  await source.readBytes(name, bytes);
  return Array.from(dtype === "I64" ? new BigInt64Array(bytes.buffer) : new Int32Array(bytes.buffer), Number);
}

/**
 * Looks up the experts of tokens.
 *
 * @param table The table, row by row.
 * @param shape [vocabulary, K].
 * @param ids The token ids.
 * @param experts The number of experts.
 * @returns [T, K], i32.
 * @throws {SafetensorsError} If an id is not in the table, or the table names an expert that does not exist.
 */
export function expertsOfTokens(
  table: readonly number[],
  shape: readonly number[],
  ids: readonly number[],
  experts: number,
): Tensor {
  const [vocabulary, topK] = shape as [number, number];
  const chosen = ids.flatMap((id) => {
    if (!(id >= 0 && id < vocabulary)) {
      throw new SafetensorsError(
        `Token id ${id} is not in the table of the layer, which has shape ${formatShape(shape)}`,
      );
    }
    return table.slice(id * topK, (id + 1) * topK);
  });
  const wrong = chosen.find((expert) => !(expert >= 0 && expert < experts));
  if (wrong !== undefined) throw new SafetensorsError(`The token table has expert ${wrong} of ${experts}`);
  return tensor(Int32Array.from(chosen), [ids.length, topK]);
}
