import type { Backend, BackendName } from "./backend/backend.ts";
import { BackendUnavailableError } from "./backend/unavailable_error.ts";
import { describeValue } from "./tensor/tensor.ts";
import type { WorkerPool } from "./wasm/worker_pool.ts";

/** Options of {@linkcode openBackend}. */
export interface OpenBackendOptions {
  /**
   * Threads of the CPU backend, 1 to 1024.
   *
   * @default {navigator.hardwareConcurrency}
   */
  threads?: number | undefined;
  /**
   * The BLAS library that the CPU backend multiplies with: `"auto"`, one that is found where such libraries are, if FFI is
   * permitted, else none; `"none"`, the WebAssembly kernels; or the path of a library with `cblas_sgemm`. Calls with
   * `batchInvariant`, and experts of fewer than 16 rows, are left to the kernels.
   *
   * @default {"auto"}
   */
  blas?: string | undefined;
  /**
   * Which GPU, counted from 0.
   *
   * @default {0}
   */
  device?: number | undefined;
  /** Called with the reason where `"auto"` means the CPU. */
  onFallback?: ((reason: string) => void) | undefined;
  /**
   * The driver's library, where it is not to be searched for.
   *
   * @internal
   */
  library?: string | undefined;
  /**
   * Worker pool for the CPU backend, in place of one of its own. It stays open when the backend is closed.
   *
   * @internal
   */
  pool?: WorkerPool | undefined;
}

/**
 * Opens a backend.
 *
 * @param name `"cpu"`, which needs no permission; `"cuda"`; or `"auto"`, which is the GPU where there is one whose kernels
 * have been verified on such hardware, and else the CPU.
 * @param options Threads.
 * @returns The backend. Close it with `using` or its `[Symbol.dispose]()`.
 * @throws {BackendUnavailableError} If the backend asked for cannot run here.
 * @throws {RangeError} If the name or an option is out of range.
 *
 * @example Usage
 * ```ts
 * import { openBackend } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * using backend = await openBackend("cpu", { threads: 1 });
 * assertEquals(backend.memory.liveBytes, 0);
 * ```
 */
export async function openBackend(name: BackendName | "auto", options: OpenBackendOptions = {}): Promise<Backend> {
  if (name !== "cpu" && name !== "auto" && name !== "cuda") {
    throw new RangeError(`backend must be "auto", "cpu" or "cuda", got ${describeValue(name)}`);
  }
  if (name !== "cpu") {
    const { openCudaBackend } = await import("./cuda/backend.ts");
    try {
      return await openCudaBackend({ ...options, onlyVerified: name === "auto" });
    } catch (error) {
      if (name === "cuda" || !(error instanceof BackendUnavailableError)) throw error;
      options.onFallback?.(error.message);
    }
  }
  const { CpuBackend } = await import("./cpu/backend.ts");
  return new CpuBackend(options);
}
