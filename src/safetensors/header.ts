// The header of a safetensors file: a length, then JSON that says where each tensor lies. Everything is checked, so that
// what comes out can be relied on: the tensors fill the data exactly, none overlaps, each is as long as its shape says.
// Source: https://github.com/huggingface/safetensors, README.md "Format", safetensors/src/tensor.rs.
import { formatShape } from "../tensor/tensor.ts";
import { SafetensorsError } from "./error.ts";
import { quote } from "../text.ts";
import { JsonScanner } from "./json_scanner.ts";

/** The name of an element type in a file. */
export type StoredDType =
  | ("BOOL" | "F4" | "F6_E2M3" | "F6_E3M2" | "U8" | "I8" | "F8_E5M2" | "F8_E4M3" | "F8_E8M0" | "F8_E4M3FNUZ")
  | ("F8_E5M2FNUZ" | "I16" | "U16" | "F16" | "BF16" | "I32" | "U32" | "F32" | "C64" | "F64" | "I64" | "U64");

/** Bits an element of each of the format's types. */
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

/** A tensor's description and its place in a file. */
export interface StoredTensor {
  /** Its name, any string. */
  readonly name: string;
  /** The element type. */
  readonly dtype: StoredDType;
  /** The size of each dimension, outermost first. */
  readonly shape: readonly number[];
  /** Where its bytes begin, from the first byte after the header. */
  readonly offset: number;
  /** How many there are. */
  readonly byteLength: number;
}

/** What a header says. */
export interface Header {
  /** The tensors, by name, in the header's order. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** Free text that the writer left. */
  readonly metadata: ReadonlyMap<string, string>;
}

/** Bytes of the header's length, at the very beginning. */
export const lengthBytes = 8;

/** The format's own limit. */
const maxHeaderBytes = 100_000_000;

/** More dimensions than anyone's tensors have. */
const maxDimensions = 64;

/**
 * Reads the header's length and checks it before anything of that size is allocated.
 *
 * @param prefix The file's first 8 bytes, or as many as there are.
 * @param fileBytes The file's size.
 * @returns Bytes of the JSON text that follows.
 * @throws {SafetensorsError} If the file cannot hold as many.
 */
export function headerLength(prefix: Uint8Array, fileBytes: number): number {
  if (prefix.length < lengthBytes) {
    throw new SafetensorsError(`the file must begin with ${lengthBytes} bytes of header length, it has ${fileBytes}`);
  }
  const length = new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true);
  const most = Math.min(maxHeaderBytes, fileBytes - lengthBytes);
  if (length < 2n || length > BigInt(most)) {
    throw new SafetensorsError(
      `the header must have from 2 to ${most} bytes in a file of ${fileBytes}, its length says ${length}`,
    );
  }
  return Number(length);
}

/**
 * Reads a header's text.
 *
 * @param bytes UTF-8.
 * @param dataBytes Bytes of the file after the header.
 * @returns The tensors and the metadata.
 * @throws {SafetensorsError} If anything is not as the format says.
 */
export function parseHeader(bytes: Uint8Array, dataBytes: number): Header {
  const scanner = new JsonScanner(decode(bytes), (message) => new SafetensorsError(`in the header, ${message}`));
  const tensors = new Map<string, StoredTensor>();
  const metadata = new Map<string, string>();
  scanner.object((name) => {
    if (name === "__metadata__") scanner.object((key) => metadata.set(key, scanner.string()));
    else tensors.set(name, scanTensor(scanner, name));
  });
  scanner.end();
  checkPlaces([...tensors.values()], dataBytes);
  return { tensors, metadata };
}

function decode(bytes: Uint8Array): string {
  if (bytes[0] !== 0x7b) throw new SafetensorsError(`the header must begin with "{", it begins with byte ${bytes[0]}`);
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new SafetensorsError("the header must be UTF-8, it is not");
  }
}

function scanTensor(scanner: JsonScanner, name: string): StoredTensor {
  const label = `tensor ${quote(name)}`;
  let dtype: string | undefined;
  let shape: number[] | undefined, offsets: number[] | undefined;
  scanner.object((key) => {
    if (key === "dtype") dtype = scanner.string();
    else if (key === "shape") shape = scanner.integers(maxDimensions);
    else if (key === "data_offsets") offsets = scanner.integers(2);
    else throw new SafetensorsError(`${label} must have dtype, shape and data_offsets only, it has ${quote(key)}`);
  });
  if (dtype === undefined || !shape || !offsets) {
    const missing = dtype === undefined ? "dtype" : shape ? "data_offsets" : "shape";
    throw new SafetensorsError(`${label} must have dtype, shape and data_offsets, it has no ${missing}`);
  }
  if (!isStoredDType(dtype)) {
    throw new SafetensorsError(`${label} must have one of the format's dtypes, got ${quote(dtype)}`);
  }
  const [start, end] = offsets;
  if (offsets.length !== 2 || start! > end!) {
    throw new SafetensorsError(`${label} must have data_offsets [begin, end], got ${formatShape(offsets)}`);
  }
  const byteLength = end! - start!;
  const expected = storedBytes(dtype, shape);
  if (byteLength !== expected) {
    throw new SafetensorsError(
      `${label}, ${dtype} ${formatShape(shape)}, must have ${expected ?? "a countable number of"} bytes, ` +
        `its data_offsets span ${byteLength}`,
    );
  }
  return { name, dtype, shape: Object.freeze(shape), offset: start!, byteLength };
}

/** Whether a word is one of the format's element types. */
function isStoredDType(word: string): word is StoredDType {
  return Object.hasOwn(dtypeBits, word);
}

/** Bytes of a tensor; undefined where they are no whole number, or more than can be counted. */
function storedBytes(dtype: StoredDType, shape: readonly number[]): number | undefined {
  let bits = dtypeBits[dtype];
  for (const size of shape) {
    bits *= size;
    if (bits > Number.MAX_SAFE_INTEGER) return undefined;
  }
  return bits % 8 === 0 ? bits / 8 : undefined;
}

/** Checks that the tensors lie one after the other, from the first byte to the last. */
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
        `tensor ${quote(tensor.name)} is truncated: it ends at byte ${end}, the file holds ${dataBytes} bytes of data`,
      );
    }
    last = tensor;
  }
  if (end < dataBytes) {
    throw new SafetensorsError(`the file holds ${dataBytes} bytes of data, its tensors end at byte ${end}`);
  }
}
