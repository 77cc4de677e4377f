// Recognizes files of other formats that are often found where a safetensors file is expected.

import { quote } from "../text.ts";

/** The first characters of a file, byte by byte, and what the file is. */
const formats: readonly (readonly [start: string, format: string])[] = [
  ["version https://git-lfs", "a Git LFS pointer: the weights were not downloaded (git lfs pull)"],
  ["GGUF", "a GGUF file"],
  ["PK", "a ZIP archive, as PyTorch and NumPy write"],
  ["\x80\x02", "a pickle, as PyTorch writes"],
  ["\x80\x03", "a pickle, as PyTorch writes"],
  ["\x80\x04", "a pickle, as PyTorch writes"],
  ["\x80\x05", "a pickle, as PyTorch writes"],
  ["\x93NUMPY", "a NumPy array"],
  ["\x89HDF", "an HDF5 file"],
  ["\x1f\x8b", "a gzip archive"],
  ["(\xb5/\xfd", "a Zstandard archive"],
  ["<", "a web page"],
];

/**
 * Describes a file of another format by its first bytes.
 *
 * @param bytes The first bytes of the file, at least 32 if it has that many.
 * @returns What the file is, such as "a GGUF file", or undefined if it is not recognized.
 */
export function describeFile(bytes: Uint8Array): string | undefined {
  if (bytes.length === 0) return "an empty file";
  if (bytes.length > 8 && bytes.every((byte) => byte === 0)) return "zeros: the download is not complete";
  const text = Array.from(bytes.subarray(0, 64), (byte) => String.fromCharCode(byte)).join("");
  const start = text.trimStart();
  const format = formats.find(([prefix]) => text.startsWith(prefix) || (prefix === "<" && start.startsWith(prefix)));
  if (format) return format[1];
  // An error message of a server, which a download has saved.
  return /^[\t\n\r -~]{9,}$/.test(text) ? `text: ${quote(start.split("\n")[0]!.slice(0, 40))}` : undefined;
}
