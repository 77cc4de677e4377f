// The product's kernels on emulated GPUs.
import { type CudaBackend, openCudaBackend } from "../../src/cuda/backend.ts";
import { buildEmulator, clang, type Emulator, type EmulatorOptions } from "../emulator/build.ts";
import { Control } from "../emulator/control.ts";

const fileOf = (name: string) => new URL(`../../cuda/${name}.cu`, import.meta.url).pathname;

/** The product's kernel files, for every architecture. */
export const kernelSources: readonly string[] = ["sort", "gemm", "simt_gemm", "combine", "linear", "ops", "router"]
  .map(fileOf);

/** Those that an architecture has besides. */
const ownSources: Readonly<Record<number, readonly string[]>> = { 90: [fileOf("wgmma")] };

/** All kernel files of an architecture. */
export function productSources(arch: number): readonly string[] {
  return [...kernelSources, ...ownSources[arch] ?? []];
}

/** For the names of tests: without clang they run, but nothing checks the kernels' accesses. */
export const emulated: string = clang ? "emulated" : "emulated without checks, for want of clang";

/** Builds an emulator of the product's kernels. */
export function buildProduct(arch: number, options: Partial<EmulatorOptions> = {}): Promise<Emulator> {
  return buildEmulator({ arch, sources: productSources(arch), ...options });
}

/** Opens the backend on an emulated GPU, with tiles of so many rows where that is said. */
export async function openEmulated(
  arch: number,
  tileRows?: number,
): Promise<{ backend: CudaBackend; control: Control }> {
  const { library } = await buildProduct(arch);
  return { backend: await openCudaBackend({ library, tileRows }), control: new Control(library) };
}
