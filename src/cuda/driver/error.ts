import { statusNames } from "./status.ts";

/** Thrown when a CUDA driver call fails. */
export class CudaError extends Error {
  /** The class's name. */
  override name = "CudaError";
  /** The driver's status, a CUresult. */
  readonly code: number;
  /** The status's name in cuda.h. */
  readonly codeName: string;
  /** The driver function that returned it. */
  readonly api: string;
  /** Whether the context is lost, so that every later call in it fails. */
  readonly poisoned: boolean;

  /** Describes a failed call. */
  constructor(api: string, code: number, hint = hints[code], options?: ErrorOptions) {
    const codeName = statusNames[code] ?? "CUDA_ERROR_UNKNOWN";
    super(`${api} failed: ${codeName} (${code})${hint ? `; ${hint}` : ""}`, options);
    this.api = api;
    this.code = code;
    this.codeName = codeName;
    this.poisoned = poisonous.has(code);
  }
}

const hints: Readonly<Record<number, string>> = {
  2: "the GPU is out of memory",
  200: "the cubin is damaged, or the driver is older than CUDA 13.0",
  209: "none of the shipped cubins runs on this GPU",
  222: "the driver is older than CUDA 13.0",
  700: "a kernel accessed an invalid address",
  719: "a kernel failed",
};

/** The errors after which, according to cuda.h, the context cannot be used any more. */
const poisonous: ReadonlySet<number> = new Set([
  ...[226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 810, 911],
]);
