// The header of a safetensors file: a length, then JSON with the position of each tensor. Everything is checked: the tensors
// fill the data exactly, do not overlap, and each has as many bytes as its shape needs.
// Source: https://github.com/huggingface/safetensors, README.md "Format", safetensors/src/tensor.rs.
import { formatShape } from "../tensor/tensor.ts";
import { SafetensorsError } from "./error.ts";
import { quote } from "../text.ts";
import { JsonScanner } from "./json_scanner.ts";

/** The name of an element type in a file. */
export type StoredDType =
  | ("BOOL" | "F4" | "F6_E2M3" | "F6_E3M2" | "U8" | "I8" | "F8_E5M2" | "F8_E4M3" | "F8_E8M0" | "F8_E4M3FNUZ")
  | ("F8_E5M2FNUZ" | "I16" | "U16" | "F16" | "BF16" | "I32" | "U32" | "F32" | "C64" | "F64" | "I64" | "U64");

/** The bits of an element of each type. */
export const dtypeBits: Readonly<Record<StoredDType, number>> = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
};

/** The description of a tensor and its position in a file. */
export interface StoredTensor {
  /** The name, any string. */
  readonly name: string;
  /** The element type. */
  readonly dtype: StoredDType;
  /** The size of each dimension, outermost first. */
  readonly shape: readonly number[];
  /** The position of the first byte, from the end of the header. */
  readonly offset: number;
  /** The number of bytes. */
  readonly byteLength: number;
}

/** The content of a header. */
export interface Header {
  /** The tensors by name, in the order of the header. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** Free text of the writer. */
  readonly metadata: ReadonlyMap<string, string>;
}

/** The size of the header's length, at the beginning of the file. */
export const lengthBytes = 8;

/** The limit of the format. */
const maxHeaderBytes = 100_000_000;

/** More dimensions than real tensors have. */
const maxDimensions = 64;

/**
 * Reads the length of the header and checks it, before memory of that size is allocated.
 *
 * @param prefix The first 8 bytes of the file, or fewer if the file is shorter.
 * @param fileBytes The size of the file.
 * @returns The number of bytes of the JSON text that follows.
 * @throws {SafetensorsError} If the file is shorter.
 */
export function headerLength(prefix: Uint8Array, fileBytes: number): number {
  if (prefix.length < lengthBytes) {
    throw new SafetensorsError(
      `the file must begin with ${lengthBytes} bytes of header length, got a file of ${fileBytes} bytes`,
    );
  }
  const length = new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true);
  const most = Math.min(maxHeaderBytes, fileBytes - lengthBytes);
  if (length < 2n || length > BigInt(most)) {
    throw new SafetensorsError(
      `the header must have from 2 to ${most} bytes in a file of ${fileBytes}, got a length of ${length}`,
    );
  }
  return Number(length);
}

/**
 * Parses the text of a header.
 *
 * @param bytes UTF-8.
 * @param dataBytes The number of bytes after the header.
 * @returns The tensors and the metadata.
 * @throws {SafetensorsError} If the header is not valid.
 */
export function parseHeader(bytes: Uint8Array, dataBytes: number): Header {
  const scanner = new JsonScanner(decode(bytes), (message) => new SafetensorsError(`in the header, ${message}`));
  const tensors = new Map<string, StoredTensor>();
  const metadata = new Map<string, string>();
  scanner.object((name) => {
    if (name === "__metadata__") {
      if (!scanner.takeNull()) scanner.object((key) => metadata.set(key, scanner.string()));
    } else tensors.set(name, scanTensor(scanner, name));
  });
  scanner.end();
  checkPlaces([...tensors.values()], dataBytes);
  return { tensors, metadata };
}

function decode(bytes: Uint8Array): string {
  if (bytes[0] !== 0x7b) throw new SafetensorsError(`the header must begin with "{", got byte ${bytes[0]}`);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new SafetensorsError("the header must be valid UTF-8");
  }
}

/** A tensor as most writers describe it. A match takes less time than the scanner's steps. N is an integer. */
const usualTensor = new RegExp(
  String.raw` ?\{"dtype": ?"([A-Z\d_]+)", ?"shape": ?\[((?:N, ?){0,7}N)\], ?"data_offsets": ?\[(N), ?(N)\]\}`
    .replaceAll("N", String.raw`(?:0|[1-9]\d{0,14})`),
  "y",
);

function scanTensor(scanner: JsonScanner, name: string): StoredTensor {
  const label = () => `tensor ${quote(name)}`;
  const usual = scanner.groups(usualTensor);
  let dtype = usual?.[0];
  let shape = usual?.[1]?.split(",").map(Number);
  let offsets = usual?.slice(2).map(Number);
  if (!usual) {
    scanner.object((key) => {
      if (key === "dtype") dtype = scanner.string();
      else if (key === "shape") shape = scanner.integers(maxDimensions);
      else if (key === "data_offsets") offsets = scanner.integers(2);
      else throw new SafetensorsError(`${label()} must have dtype, shape and data_offsets only, got ${quote(key)}`);
    });
  }
  if (dtype === undefined || !shape || !offsets) {
    const missing = dtype === undefined ? "dtype" : shape ? "data_offsets" : "shape";
    throw new SafetensorsError(`${label()} must have dtype, shape and data_offsets, got no ${missing}`);
  }
  if (!isStoredDType(dtype)) {
    throw new SafetensorsError(`${label()} must have a dtype of the format, got ${quote(dtype)}`);
  }
  const [start, end] = offsets;
  if (offsets.length !== 2 || start! > end!) {
    throw new SafetensorsError(`${label()} must have data_offsets [begin, end], got ${formatShape(offsets)}`);
  }
  const byteLength = end! - start!;
  const expected = storedBytes(dtype, shape);
  if (byteLength !== expected) {
    throw new SafetensorsError(
      `${label()}, ${dtype} ${formatShape(shape)}, must have ${expected ?? "a countable number of"} bytes, ` +
        `got data_offsets that span ${byteLength}`,
    );
  }
  return { name, dtype, shape: Object.freeze(shape), offset: start!, byteLength };
}

/** Returns whether a word is an element type of the format. */
function isStoredDType(word: string): word is StoredDType {
  return Object.hasOwn(dtypeBits, word);
}

/** Counts the bytes of a tensor. Undefined if they are not a whole number, or too many to count. */
function storedBytes(dtype: StoredDType, shape: readonly number[]): number | undefined {
  let bits = dtypeBits[dtype];
  for (const size of shape) {
    bits *= size;
    if (bits > Number.MAX_SAFE_INTEGER) return undefined;
  }
  return bits % 8 === 0 ? bits / 8 : undefined;
}

/** Checks that the tensors fill the data without gaps and overlaps. */
function checkPlaces(tensors: StoredTensor[], dataBytes: number): void {
  tensors.sort((a, b) => a.offset - b.offset || a.byteLength - b.byteLength);
  let end = 0;
  let last: StoredTensor | undefined;
  for (const tensor of tensors) {
    if (tensor.offset !== end) {
      const problem = tensor.offset < end
        ? `overlaps tensor ${quote(last!.name)}, which ends at ${end}`
        : `leaves a hole from byte ${end} on`;
      throw new SafetensorsError(`tensor ${quote(tensor.name)} at byte ${tensor.offset} ${problem}`);
    }
    end += tensor.byteLength;
    if (end > dataBytes) {
      throw new SafetensorsError(
        `tensor ${
          quote(tensor.name)
        } is truncated: it ends at byte ${end}, but the file has ${dataBytes} bytes of data: the download is not complete`,
      );
    }
    last = tensor;
  }
  if (end < dataBytes) {
    throw new SafetensorsError(`the file has ${dataBytes} bytes of data, but its tensors end at byte ${end}`);
  }
}
