import { SafetensorsError } from "../../safetensors/error.ts";
import type { StoredTensor } from "../../safetensors/header.ts";
import { quote } from "../../text.ts";

/** What integers can be read from: a file, or a checkpoint of several. */
export interface IntegerSource {
  describe(name: string): StoredTensor | Promise<StoredTensor>;
  readBytes(name: string, target: Uint8Array, start?: number): Promise<void>;
}

/**
 * Reads a tensor of 32-bit or 64-bit integers.
 *
 * @throws {SafetensorsError} If the tensor has another dtype, or a number does not fit 32 bits.
 */
export async function readIntegers(source: IntegerSource, name: string, path: string): Promise<Int32Array> {
  const { dtype, byteLength } = await source.describe(name);
  if (dtype !== "I64" && dtype !== "I32") {
    throw new SafetensorsError(`${path}: tensor ${quote(name)} must be of dtype I64, I32, got ${dtype}`);
  }
  const bytes = new Uint8Array(byteLength);
  await source.readBytes(name, bytes);
  if (dtype === "I32") return new Int32Array(bytes.buffer);
  const wide = new BigInt64Array(bytes.buffer), narrow = Int32Array.from(wide, Number);
  const at = wide.findIndex((value, i) => value !== BigInt(narrow[i]!));
  if (at < 0) return narrow;
  throw new SafetensorsError(`${path}: tensor ${quote(name)} must have integers of 32 bits, got ${wide[at]}`);
}
