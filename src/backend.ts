/**
 * Where the op runs: one interface over the CPU and the GPU.
 *
 * @module
 */
import type { ExpertsInputs, ExpertsOptions } from "./experts.ts";
import { BackendUnavailableError } from "./backend_unavailable_error.ts";
import type { MoeLayer, MoeOptions } from "./moe.ts";
import type { BackendOps } from "./ops/contract.ts";
import type { BackendDetails } from "./backend_details.ts";
import type { Engine } from "./wasm/engine.ts";
import { describeValue, type DType, type Tensor } from "./tensor.ts";

export type { BackendDetails } from "./backend_details.ts";

/** A tensor that a backend holds. Dispose it to give its memory back; twice is no error. */
export interface BackendTensor extends Disposable {
  /** The element type. */
  readonly dtype: DType;
  /** The size of each dimension, outermost first. */
  readonly shape: readonly number[];
}

/** Bytes of the tensors that a backend holds: inputs, outputs and workspace. */
export interface MemoryStatistics {
  /** Now. */
  readonly liveBytes: number;
  /** At most since the backend was opened or {@linkcode Backend.resetPeakMemory} was called. */
  readonly peakBytes: number;
}

/** A place to run {@linkcode experts}. Open one with {@linkcode openBackend} and close it with `using`. */
export interface Backend extends Disposable {
  /** Which one. */
  readonly name: BackendName;
  /** What it runs on, for people. */
  readonly device: string;
  /** What multiplies: `"WebAssembly"`, a BLAS library's name and version, or the kernels' image on a GPU. */
  readonly engine: string;
  /** The number of CPU threads that compute; 0 where another device does. */
  readonly threads: number;
  /** Memory in use. */
  readonly memory: MemoryStatistics;
  /** How long the host has been busy with copies to the device so far; null where there is nothing to copy. */
  readonly uploadMilliseconds: number | null;
  /** Lets `peakBytes` start again from what is live now. */
  resetPeakMemory(): void;
  /**
   * Makes a tensor whose elements are yet to be written, with {@linkcode Backend.fill}.
   *
   * @throws {RangeError} If the memory cannot be had.
   */
  allocate(dtype: DType, shape: readonly number[]): BackendTensor;
  /**
   * Makes a tensor with the elements of one on the host. The CPU backend takes shared memory as it is and copies other.
   *
   * @throws {TypeError} If it is no tensor, or its buffer is detached.
   * @throws {RangeError} If the memory cannot be had.
   */
  upload(tensor: Tensor): BackendTensor;
  /**
   * Writes a tensor piece by piece: `produce` is handed shared host memory for the elements from `start` on and fills it.
   * On the CPU that is the tensor itself, in one piece; elsewhere a small buffer that is copied from, so that the host
   * never holds the whole. Pieces begin at multiples of 16 elements and have at least 16, but for a smaller tensor.
   */
  fill(tensor: BackendTensor, produce: (piece: Tensor["data"], start: number) => void | Promise<void>): Promise<void>;
  /**
   * Reads a tensor, or a range of its elements, piece by piece, as {@linkcode Backend.fill} writes it. A piece holds these
   * elements until `consume` is done, and not beyond.
   */
  read(
    tensor: BackendTensor,
    consume: (piece: Tensor["data"], start: number) => void | Promise<void>,
    range?: ElementRange,
  ): Promise<void>;
  /** Copies a tensor to the host. */
  download(tensor: BackendTensor): Promise<Tensor>;
  /**
   * Runs the op on tensors that the backend holds. The memory of a disposed output may stay with the backend, for the
   * next call, until the backend is disposed too.
   *
   * @returns The output, [T, H].
   * @throws {TypeError} If a dtype is not as the contract says.
   * @throws {RangeError} If a shape or an option is not.
   */
  experts(inputs: ExpertsInputs<BackendTensor>, options?: ExpertsOptions): Promise<BackendTensor>;
  /**
   * Runs a whole layer on tensors that the backend holds; see {@linkcode moe}. Nothing comes back to the host in between.
   *
   * @returns The output, [T, H].
   * @throws {TypeError} If a dtype is not as the contract says.
   * @throws {RangeError} If a shape or an option is not.
   */
  moe(hidden: BackendTensor, layer: MoeLayer<BackendTensor>, options?: MoeOptions): Promise<BackendTensor>;
  /** The steps of a layer, one by one. */
  readonly ops: BackendOps;
  /** Waits until everything begun is done. */
  synchronize(): Promise<void>;
  /** Times what `run` begins, to its end. */
  measure<Result>(run: () => Promise<Result>): Promise<Measurement<Result>>;
  /** Drives what the device's caches hold out of them; absent where there is no way to. */
  flushCaches?(): void;
  /** The most that the device can do in a dtype, or undefined where that is not known. */
  peakRates(dtype: DType): Promise<PeakRates | undefined>;
  /** What a record of a run should say of the device and its software. */
  readonly details: BackendDetails;
}

/** A range of a tensor's elements, in row-major order: from `start` up to but not including `end`. */
export interface ElementRange {
  /** The first element. */
  readonly start: number;
  /** The element after the last. */
  readonly end: number;
}

/** The most that a device can do. */
export interface PeakRates {
  /** Floating-point operations, in 10^12 a second. */
  readonly teraflops: number;
  /** Bytes to and from its memory, in 10^9 a second. */
  readonly gigabytesPerSecond: number;
  /** How that is known: from the device's clocks and units, or measured on it. */
  readonly source: "device" | "measured";
}

/** What {@linkcode Backend.measure} found. */
export interface Measurement<Result> {
  /** What `run` resolved to. */
  readonly result: Result;
  /** The time on the device, by its own clock where it has one. */
  readonly milliseconds: number;
  /** The time on the wall, the host's part included. */
  readonly wallMilliseconds: number;
}

/** The backends there are. */
export type BackendName = "cpu" | "cuda";

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
  engine?: Engine | undefined;
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
