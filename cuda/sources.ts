// The kernel sources of each image, without comments.

const folder = new URL("./", import.meta.url);

/** The kernel files of every architecture. */
export const portableFiles: readonly string[] = [
  "combine.cu",
  "exchange.cu",
  "gemm.cu",
  "linear.cu",
  "ops.cu",
  "router.cu",
  "simt_gemm.cu",
  "sort.cu",
  "stored_decode.cu",
  "stored_gemm.cu",
  "wait.cu",
];

/** The kernel files of packed weights on Hopper. */
const packedFiles = [
  "packed.cu",
  "packed_fp8.cu",
  "packed_gather.cu",
  "packed_int4.cu",
  "packed_mxfp4.cu",
  "packed_nvfp4.cu",
];

/** The kernel files of an architecture, by its compute capability (10 · major + minor). */
export function kernelFiles(computeCapability: number): readonly string[] {
  return computeCapability === 90 ? [...portableFiles, ...packedFiles, "stream.cu", "wgmma.cu"] : portableFiles;
}

/** Removes comments and normalizes white space, so that neither prose nor formatting changes the text. */
export function stripComments(source: string): string {
  return source.replace(/\/\/.*$/gm, "").split("\n").map((line) => line.trim().replace(/\s+/g, " ")).filter(Boolean)
    .join("\n");
}

/** Reads files and everything they include from this folder: stripped texts by file name, each before what includes it. */
export function readSources(files: readonly string[]): ReadonlyMap<string, string> {
  const texts = new Map<string, string>();
  const visited = new Set<string>();
  const visit = (name: string) => {
    if (visited.has(name)) return;
    visited.add(name);
    const text = stripComments(Deno.readTextFileSync(new URL(name, folder)));
    for (const [, included] of text.matchAll(/^#include ["<](\w+\.cuh?)[">]/gm)) visit(included ?? "");
    texts.set(name, text);
  };
  files.forEach(visit);
  return texts;
}
