// The product's kernels on emulated GPUs.
import { type CudaBackend, openCudaBackend } from "../../src/cuda/backend.ts";
import { buildEmulator, type Emulator, type EmulatorOptions } from "../emulator/build.ts";
import { Control } from "../emulator/control.ts";

/** The product's kernel files. */
export const kernelSources: readonly string[] = ["sort", "gemm", "combine"]
  .map((name) => new URL(`../../cuda/${name}.cu`, import.meta.url).pathname);

/** Builds an emulator of the product's kernels. */
export function buildProduct(arch: number, options: Partial<EmulatorOptions> = {}): Promise<Emulator> {
  return buildEmulator({ arch, sources: kernelSources, ...options });
}

/** Opens the backend on an emulated GPU. */
export async function openEmulated(
  arch: number,
  options: Partial<EmulatorOptions> = {},
): Promise<{ backend: CudaBackend; control: Control }> {
  const { library } = await buildProduct(arch, options);
  const control = new Control(library);
  return { backend: await openCudaBackend({ library }), control };
}
