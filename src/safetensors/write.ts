// Writes safetensors files. The same tensors give the same bytes, and a file is either complete or does not exist.
import {
  bytesPerElement,
  checkTensor,
  describeValue,
  type DType,
  expectObject,
  type Tensor,
} from "../tensor/tensor.ts";
import { SafetensorsError } from "./error.ts";
import { quote } from "../text.ts";
import { fileTarget } from "../file_target.ts";
import { filePath } from "./file_path.ts";
import { lengthBytes, type StoredDType } from "./header.ts";

const storedByDType = { f16: "F16", bf16: "BF16", f32: "F32", i32: "I32", u8: "U8" } as const satisfies Record<
  DType,
  StoredDType
>;

/** The alignment of the data, enough for every dtype. */
const alignment = 8;

/** The tensors of a file, by name. */
export type NamedTensors = Readonly<Record<string, Tensor>>;

/**
 * Makes the content of a safetensors file. The same tensors and metadata give the same bytes, independent of their order:
 * tensors are sorted by the size of their elements, largest first, then by name.
 *
 * @param tensors The tensors, by name.
 * @param metadata Free text for the header.
 * @returns The bytes.
 * @throws {TypeError} If a tensor is not well-formed, or metadata is not text.
 * @throws {SafetensorsError} If a name is not allowed.
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

/** The temporary files that are being written. Code that ends the process early must remove them. */
export const temporaryFiles: Set<string> = new Set();

/**
 * Writes a safetensors file. The data is first written to a temporary file in the same directory, which then replaces the file
 * at `path`, or the target of a symbolic link. If this fails, the temporary file is removed and the old file stays.
 *
 * @param path A path or a file URL.
 * @param tensors The tensors, by name. They are not copied.
 * @param metadata Free text for the header.
 * @throws {TypeError} If a tensor is not well-formed, metadata is not text, or `path` is neither.
 * @throws {SafetensorsError} If a name is not allowed.
 */
export async function writeSafetensors(
  path: string | URL,
  tensors: NamedTensors,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const { path: target, mode } = fileTarget(filePath(path));
  const parts = fileParts(tensors, metadata);
  const temporary = `${target}.${crypto.randomUUID().slice(0, 8)}.tmp`;
  temporaryFiles.add(temporary);
  try {
    const file = await Deno.open(temporary, { write: true, createNew: true });
    try {
      for (const part of parts) await writeAll(file, part);
      await file.sync();
    } finally {
      file.close();
    }
    if (mode !== null) await Deno.chmod(temporary, mode & 0o7777);
    await Deno.rename(temporary, target);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {}); // the first error is the cause
    throw error;
  } finally {
    temporaryFiles.delete(temporary);
  }
  await syncDirectory(target);
}

/** Makes the new name survive a power failure. Windows does not have such a call for directories. */
async function syncDirectory(path: string): Promise<void> {
  if (Deno.build.os === "windows") return;
  using directory = await Deno.open(path.slice(0, path.lastIndexOf("/") + 1) || ".");
  await directory.sync();
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
}

/** Makes the parts of the file in order: the length, the header, and the data of each tensor. */
function fileParts(tensors: NamedTensors, metadata: Readonly<Record<string, string>>): Uint8Array[] {
  expectObject("tensors", tensors);
  expectObject("metadata", metadata);
  for (const [name, tensor] of Object.entries(tensors)) checkTensor(name, tensor);
  for (const [key, text] of Object.entries(metadata)) {
    if (typeof text === "string" && text.isWellFormed() && key.isWellFormed()) continue;
    throw new TypeError(`metadata must be well-formed text, got ${describeValue(text)} for ${quote(key)}`);
  }
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

/** Makes a JSON object from members that are JSON, in the given order. */
function jsonObject(members: Iterable<readonly [string, string]>): string {
  return `{${Array.from(members, ([name, json]) => `${JSON.stringify(name)}:${json}`).join(",")}}`;
}

function checkName(name: string): void {
  if (name === "__metadata__" || !name.isWellFormed()) {
    throw new SafetensorsError(`A tensor's name must be well-formed and not "__metadata__", got ${quote(name)}`);
  }
}
