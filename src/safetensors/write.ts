// Writing: the same tensors give the same bytes, and a file is either whole or not there.
import { bytesPerElement, checkTensor, type DType, type Tensor } from "../tensor/tensor.ts";
import { SafetensorsError } from "./error.ts";
import { quote } from "../text.ts";
import { lengthBytes, type StoredDType } from "./header.ts";

const storedByDType = { f16: "F16", bf16: "BF16", f32: "F32", i32: "I32" } as const satisfies Record<
  DType,
  StoredDType
>;

/** Data begins at a multiple of this, which suits every dtype there is. */
const alignment = 8;

/** What goes into a file. */
export type NamedTensors = Readonly<Record<string, Tensor>>;

/**
 * Makes the content of a safetensors file. The same tensors and metadata give the same bytes, in whatever order they come:
 * the widest dtype is first, and of one dtype the first name.
 *
 * @param tensors The tensors, by name.
 * @param metadata Free text to go with them.
 * @returns The bytes.
 * @throws {TypeError} If a tensor is not well-formed.
 * @throws {SafetensorsError} If a name cannot be one.
 *
 * @example Usage
 * ```ts
 * import { encodeSafetensors, tensor } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * const bytes = encodeSafetensors({ x: tensor(new Float32Array([1, 2])) });
 * assertEquals(new TextDecoder().decode(bytes.subarray(8, 14)), '{"x":{');
 * ```
 */
export function encodeSafetensors(tensors: NamedTensors, metadata: Readonly<Record<string, string>> = {}): Uint8Array {
  const parts = fileParts(tensors, metadata);
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let end = 0;
  for (const part of parts) {
    bytes.set(part, end);
    end += part.length;
  }
  return bytes;
}

/** The temporary files that are being written, for whoever ends the process before they are. */
export const temporaryFiles: Set<string> = new Set();

/**
 * Writes a safetensors file: to a temporary name in the same directory, then, when all of it is on the disk, under its own,
 * in place of what was there. If that fails, nothing is left behind and what was there stays.
 *
 * @param path Where to.
 * @param tensors The tensors, by name. They are written from where they lie.
 * @param metadata Free text to go with them.
 * @throws {TypeError} If a tensor is not well-formed.
 * @throws {SafetensorsError} If a name cannot be one.
 */
export async function writeSafetensors(
  path: string,
  tensors: NamedTensors,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const parts = fileParts(tensors, metadata);
  const temporary = `${path}.${crypto.randomUUID().slice(0, 8)}.tmp`;
  temporaryFiles.add(temporary);
  try {
    const file = await Deno.open(temporary, { write: true, createNew: true });
    try {
      for (const part of parts) await writeAll(file, part);
      await file.sync();
    } finally {
      file.close();
    }
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {}); // the first error says more
    throw error;
  } finally {
    temporaryFiles.delete(temporary);
  }
  await syncDirectory(path);
}

/** Lets the new name outlast a loss of power. Windows has no such call for directories. */
async function syncDirectory(path: string): Promise<void> {
  if (Deno.build.os === "windows") return;
  using directory = await Deno.open(path.slice(0, path.lastIndexOf("/") + 1) || ".");
  await directory.sync();
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
}

/** The file in order: length, header, data of each tensor. */
function fileParts(tensors: NamedTensors, metadata: Readonly<Record<string, string>>): Uint8Array[] {
  for (const [name, tensor] of Object.entries(tensors)) checkTensor(name, tensor);
  const entries = Object.entries(tensors).sort(([nameA, a], [nameB, b]) =>
    bytesPerElement(b.dtype) - bytesPerElement(a.dtype) || (nameA < nameB ? -1 : 1)
  );
  const notes = Object.entries(metadata).sort(([a], [b]) => a < b ? -1 : 1);
  const header: [name: string, json: string][] = [];
  if (notes.length > 0) {
    header.push(["__metadata__", jsonObject(notes.map(([key, text]) => [key, JSON.stringify(text)]))]);
  }
  let end = 0;
  for (const [name, tensor] of entries) {
    checkName(name);
    const { dtype, shape, data } = tensor;
    const entry = { dtype: storedByDType[dtype], shape, data_offsets: [end, end += data.byteLength] };
    header.push([name, JSON.stringify(entry)]);
  }
  const text = new TextEncoder().encode(jsonObject(header));
  const padded = new Uint8Array(Math.ceil(text.length / alignment) * alignment).fill(0x20);
  padded.set(text);
  const length = new Uint8Array(lengthBytes);
  new DataView(length.buffer).setBigUint64(0, BigInt(padded.length), true);
  return [
    length,
    padded,
    ...entries.map(([, { data }]) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength)),
  ];
}

/** An object of members that are JSON already, in the order given, whatever their names. */
function jsonObject(members: Iterable<readonly [string, string]>): string {
  return `{${Array.from(members, ([name, json]) => `${JSON.stringify(name)}:${json}`).join(",")}}`;
}

function checkName(name: string): void {
  if (name === "__metadata__" || !name.isWellFormed()) {
    throw new SafetensorsError(`A tensor's name must be well-formed and not "__metadata__", got ${quote(name)}`);
  }
}
