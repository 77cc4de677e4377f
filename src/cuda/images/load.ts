// Chooses and loads the image for a GPU.
import { BackendUnavailableError } from "../../backend/unavailable_error.ts";
import { fromBase85 } from "./base85.ts";
import type { Image } from "./manifest_types.ts";
import { manifest } from "./built/manifest.ts";

/** Each image is a module of its own, so that only one is loaded. */
const sources: Readonly<Record<string, () => Promise<{ image: string }>>> = {
  sm_75: () => import("./built/sm_75.ts"),
  sm_80: () => import("./built/sm_80.ts"),
  sm_90: () => import("./built/sm_90.ts"),
  sm_100: () => import("./built/sm_100.ts"),
  sm_120: () => import("./built/sm_120.ts"),
  compute_80: () => import("./built/compute_80.ts"),
};

/**
 * Chooses the image for a GPU. Machine code runs on GPUs of the same major version and of at least the same minor version. PTX,
 * which the driver compiles, runs on all newer GPUs.
 *
 * @param computeCapability 10 · major + minor.
 * @throws {BackendUnavailableError} If no image runs on the GPU.
 */
export function chooseImage(computeCapability: number): string {
  const runs = ({ kind, computeCapability: built }: Image) =>
    built <= computeCapability && (kind === "ptx" || Math.floor(built / 10) === Math.floor(computeCapability / 10));
  const fitting = Object.entries(manifest.images).filter(([, image]) => runs(image));
  const best =
    fitting.sort(([, a], [, b]) =>
      a.kind !== b.kind ? (a.kind === "cubin" ? -1 : 1) : b.computeCapability - a.computeCapability
    )[0];
  if (best) return best[0];
  throw new BackendUnavailableError(
    `Cannot run on a GPU of compute capability ${formatCapability(computeCapability)}: ` +
      `the kernels are built for ${Object.keys(manifest.images).join(", ")}`,
  );
}

/**
 * Loads an image and checks its digest.
 *
 * @throws {Error} If it is damaged.
 */
export async function loadImage(name: string): Promise<Uint8Array<ArrayBuffer>> {
  return await unpackImage(name, (await sources[name]!()).image);
}

/** Unpacks an image from its module's text, which is brotli in base 85, and checks its digest. */
export async function unpackImage(name: string, text: string): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = await unpack(text);
  const digest = bytes && new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
  if (bytes && digest === manifest.images[name]!.sha256) return bytes;
  const found = digest ? `expected the digest of the manifest, got ${digest}` : "they cannot be unpacked";
  throw new Error(`Cannot use the kernels for ${name}: ${found}`);
}

async function unpack(text: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
  try {
    const { brotliDecompressSync } = await import("node:zlib");
    return new Uint8Array(brotliDecompressSync(fromBase85(text)));
  } catch {
    return undefined; // damaged
  }
}

/** 90 as 9.0. */
export function formatCapability(computeCapability: number): string {
  return `${Math.floor(computeCapability / 10)}.${computeCapability % 10}`;
}
