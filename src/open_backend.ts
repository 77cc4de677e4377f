import type { Backend, BackendName } from "./backend/backend.ts";
import { BackendUnavailableError } from "./backend/unavailable_error.ts";
import { expectFunction, expectObject, expectOneOf } from "./contract/checks.ts";
import { checkNames } from "./known_names.ts";
import { describeValue } from "./tensor/tensor.ts";
import { checkThreads } from "./wasm/threads.ts";
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
   * The BLAS library that the CPU backend multiplies with: `"auto"`, a library found in the usual places, if FFI is
   * permitted, and otherwise none; `"none"`, the WebAssembly kernels; or the path of a library that has `cblas_sgemm`.
   * Calls with `batchInvariant` and experts with fewer than 16 rows always use the kernels.
   *
   * @default {"auto"}
   */
  blas?: string | undefined;
  /**
   * The number of the GPU, from 0.
   *
   * @default {0}
   */
  device?: number | undefined;
  /** Called with the reason if `"auto"` opens the CPU backend. */
  onFallback?: ((reason: string) => void) | undefined;
  /**
   * The path of the driver's library. By default, the usual places are searched.
   *
   * @internal
   */
  library?: string | undefined;
  /**
   * The worker pool of the CPU backend. It stays open when the backend is closed. By default, the backend has its own pool.
   *
   * @internal
   */
  pool?: WorkerPool | undefined;
}

const knownOptions: Readonly<Record<keyof OpenBackendOptions, true>> = {
  threads: true,
  blas: true,
  device: true,
  onFallback: true,
  library: true,
  pool: true,
};

/**
 * Opens a backend.
 *
 * @param name `"cpu"`, which needs no permission; `"cuda"`; or `"auto"`: the GPU, if there is one and the kernels for it have
 * been verified on such hardware, and otherwise the CPU.
 * @param options The threads, the BLAS library or the GPU.
 * @returns The backend. Close it with `using` or its `[Symbol.dispose]()`.
 * @throws {BackendUnavailableError} If the backend is not available on this machine.
 * @throws {RangeError} If the name or an option is out of range.
 * @throws {TypeError} If an option is unknown or of a wrong type.
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
  expectOneOf("backend", name, ["auto", "cpu", "cuda"]);
  expectObject("options", options);
  checkNames("options", options, Object.keys(knownOptions));
  checkOptions(options);
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

/** Checks the options of every backend, whichever is opened: a program that works on a CPU must not fail on a GPU. */
function checkOptions({ threads = 1, blas = "", device = 0, onFallback = () => {}, library = "" }: OpenBackendOptions) {
  checkThreads(threads);
  if (!(Number.isSafeInteger(device) && device >= 0)) {
    throw new RangeError(`device must be an integer of at least 0, got ${describeValue(device)}`);
  }
  for (const [name, value] of Object.entries({ blas, library })) {
    if (typeof value !== "string") throw new TypeError(`${name} must be a string, got ${describeValue(value)}`);
  }
  expectFunction("onFallback", onFallback);
}
