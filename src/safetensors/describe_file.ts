// Recognizes files of other formats that are often found where a safetensors file is expected.

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
  const text = Array.from(bytes.subarray(0, 64), (byte) => String.fromCharCode(byte)).join("");
  const start = text.trimStart();
  return formats.find(([prefix]) => text.startsWith(prefix) || (prefix === "<" && start.startsWith(prefix)))?.[1];
}
