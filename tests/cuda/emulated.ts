// The product's kernels on emulated GPUs.
import { kernelFiles } from "../../cuda/sources.ts";
import { type CudaBackend, openCudaBackend } from "../../src/cuda/backend.ts";
import { loadImage } from "../../src/cuda/images/load.ts";
import { buildEmulator, clang, type Emulator, type EmulatorOptions } from "../emulator/build.ts";
import { Control } from "../emulator/control.ts";

/** The paths of all kernel files of an architecture. */
export function productSources(arch: number): readonly string[] {
  return kernelFiles(arch).map((file) => new URL(`../../cuda/${file}`, import.meta.url).pathname);
}

/** For the names of tests: without clang they run, but nothing checks the kernels' memory accesses. */
export const emulated: string = clang ? "emulated" : "emulated without checks because clang is missing";

/**
 * Builds an emulator of the product's kernels. Only those for sm_80 are optimized, because most tests run them: for the others,
 * compiling would take longer than the tests save.
 */
export function buildProduct(arch: number, options: Partial<EmulatorOptions> = {}): Promise<Emulator> {
  return buildEmulator({ arch, sources: productSources(arch), optimized: arch === 80, ...options });
}

const images = new Map<number, ReturnType<typeof loadImage>>();

/** Unpacks the image of an architecture once for each test file, because that takes longer than all else of opening a backend. */
function imageOf(arch: number): ReturnType<typeof loadImage> {
  const known = images.get(arch) ?? loadImage(`sm_${arch}`);
  images.set(arch, known);
  return known;
}

/** Opens the backend on an emulated GPU, optionally with tiles of a given number of rows. */
export async function openEmulated(
  arch: number,
  tileRows?: number,
): Promise<{ backend: CudaBackend; control: Control }> {
  const { library } = await buildProduct(arch);
  return {
    backend: await openCudaBackend({ library, tileRows, checkedMemory: true, image: await imageOf(arch) }),
    control: new Control(library),
  };
}
