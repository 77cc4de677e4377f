// Recognizes files that are often found in the place of a safetensors file.

const signatures: readonly (readonly [RegExp, string])[] = [
  [/^version https:\/\/git-lfs/, "a Git LFS pointer: the weights were not downloaded (git lfs pull)"],
  [/^version https:\/\/hawser/, "a Git LFS pointer: the weights were not downloaded (git lfs pull)"],
  [/^GGUF/, "a GGUF file"],
  [/^ggml|^lmgg|^tjgg/, "a GGML file"],
  [/^PK[\x03\x05\x07]/, "a ZIP archive, as PyTorch and NumPy write"],
  [/^\x80[\x02-\x05]/, "a pickle, as PyTorch writes"],
  [/^\x93NUMPY/, "a NumPy array"],
  [/^\x89HDF\r\n/, "an HDF5 file"],
  [/^\x1f\x8b/, "a gzip archive"],
  [/^\x28\xb5\x2f\xfd/, "a Zstandard archive"],
  [/^\s*<(?:!|\?|[a-zA-Z])/, "a web page"],
];

/**
 * Describes a file of another format by its first bytes.
 *
 * @param bytes The first bytes, at least 24 of them if the file has that many.
 * @returns What the file is, such as "a GGUF file", or undefined if it is not recognized.
 */
export function describeFile(bytes: Uint8Array): string | undefined {
  const text = Array.from(bytes.subarray(0, 64), (byte) => String.fromCharCode(byte)).join("");
  return signatures.find(([signature]) => signature.test(text))?.[1];
}
