/**
 * The interface of a backend, which holds tensors and computes: the CPU or a GPU.
 *
 * @module
 */
import type { ExpertsInputs, ExpertsOptions } from "../contract/experts.ts";
import type { MoeLayer, MoeOptions } from "../contract/moe.ts";
import type { BackendOps } from "../contract/ops.ts";
import type { ExpertsCall } from "../contract/resolve_experts.ts";
import type { BackendTensor, PackedBackendTensor } from "../tensor/backend_tensor.ts";
import type { PackedFormat, PackedSpec, PackedTensor } from "../tensor/packed_tensor.ts";
import type { DType, Tensor } from "../tensor/tensor.ts";
import type { BackendDetails } from "./details.ts";
import type { BackendSteps } from "./steps.ts";

export type { BackendTensor, PackedBackendTensor } from "../tensor/backend_tensor.ts";
export type { BackendDetails } from "./details.ts";

/** The memory of a backend's tensors: inputs, outputs and workspace. */
export interface MemoryStatistics {
  /** The bytes that are in use now. */
  readonly liveBytes: number;
  /** The most bytes in use since the backend was opened or {@linkcode Backend.resetPeakMemory} was called. */
  readonly peakBytes: number;
}

/**
 * A device that runs {@linkcode experts}. Open one with {@linkcode openBackend} and close it with `using`.
 *
 * A call keeps the memory of its tensors until it ends, so they may be disposed while it runs.
 */
export interface Backend extends Disposable {
  /** The name of the backend. */
  readonly name: BackendName;
  /** The name of the device, for people. */
  readonly device: string;
  /** The engine that multiplies: `"WebAssembly"`, the name and version of a BLAS library, or the kernel image of a GPU. */
  readonly engine: string;
  /** The number of CPU threads that compute; 0 on a GPU. */
  readonly threads: number;
  /** The memory in use. */
  readonly memory: MemoryStatistics;
  /** The time in milliseconds that the host has spent on copies to the device; null if no copies are needed. */
  readonly uploadMilliseconds: number | null;
  /** Resets the peak to the bytes that are live now. */
  resetPeakMemory(): void;
  /**
   * Allocates a tensor. Its elements are unspecified until they are written with {@linkcode Backend.fill}.
   *
   * @throws {RangeError} If the allocation fails.
   */
  allocate(dtype: DType, shape: readonly number[]): BackendTensor;
  /**
   * Copies a tensor from the host. The CPU backend uses shared memory without a copy.
   *
   * @throws {TypeError} If the value is not a tensor, or its buffer is detached.
   * @throws {RangeError} If the allocation fails.
   */
  upload(tensor: Tensor): BackendTensor;
  /**
   * Copies a packed tensor from the host. The result owns its parts and has the memory of the packed format.
   *
   * @throws {TypeError} If the tensor is malformed.
   * @throws {RangeError} If the allocation fails.
   */
  upload(tensor: PackedTensor): PackedBackendTensor;
  /**
   * Makes a packed tensor, some experts at a time. `produce` gets shared host memory for the parts of the experts from `first`
   * on, writes all of it and checks the numbers. On the CPU, there is one piece, the tensor itself. On a GPU, a piece is a small
   * buffer, and several are filled at the same time.
   *
   * @throws The error of `produce`.
   * @throws {RangeError} If the allocation fails.
   * @internal
   */
  uploadPacked(
    spec: PackedSpec,
    produce: (piece: PackedTensor, first: number) => void | Promise<void>,
  ): Promise<PackedBackendTensor>;
  /** Returns whether the kernels read weights in a packed format. */
  supports(format: PackedFormat): boolean;
  /**
   * Writes a tensor piece by piece. `produce` gets shared host memory for the elements from `start` on and writes all of
   * it. On the CPU, there is one piece, the tensor itself. On a GPU, a piece is a small buffer, so that the host never has
   * a copy of the whole tensor. Pieces begin at multiples of 16 elements, and have at least 16 unless the tensor is smaller.
   *
   * @throws The error of `produce`. The elements are then unspecified.
   */
  fill(tensor: BackendTensor, produce: (piece: Tensor["data"], start: number) => void | Promise<void>): Promise<void>;
  /**
   * Reads a tensor, or a range of its elements, piece by piece; see {@linkcode Backend.fill}. A piece is only valid until
   * `consume` returns.
   *
   * @throws The error of `consume`.
   * @throws {RangeError} If the range is not within the tensor.
   */
  read(
    tensor: BackendTensor,
    consume: (piece: Tensor["data"], start: number) => void | Promise<void>,
    range?: ElementRange,
  ): Promise<void>;
  /** Copies a tensor to the host. */
  download(tensor: BackendTensor): Promise<Tensor>;
  /**
   * Runs the experts on tensors of this backend; see {@linkcode experts}. The elements are not checked: an assignment to
   * an expert that does not exist is dropped. The backend may keep the memory of a disposed output for the next call.
   *
   * @returns The output, [T, H].
   * @throws {TypeError} If a dtype does not match, or a name is unknown.
   * @throws {RangeError} If a shape does not match, or an option is out of range.
   */
  experts(inputs: ExpertsInputs<BackendTensor>, options?: ExpertsOptions): Promise<BackendTensor>;
  /**
   * Runs a whole layer on tensors of this backend; see {@linkcode moe}. Nothing is copied to the host in between.
   *
   * @returns The output, [T, H].
   * @throws {TypeError} If a dtype does not match, or a name is unknown.
   * @throws {RangeError} If a shape does not match, or an option is out of range.
   */
  moe(hidden: BackendTensor, layer: MoeLayer<BackendTensor>, options?: MoeOptions): Promise<BackendTensor>;
  /**
   * Captures the calls that a function makes, so that they can be repeated without their cost on the host: on a GPU as one
   * CUDA graph. The function can run several calls of {@linkcode Backend.experts}, {@linkcode Backend.moe} and
   * {@linkcode Backend.ops}, for example a sequence of layers. It is called once, and its calls are executed.
   *
   * A replay reads the same tensors and writes the same result. To use other numbers, write them with
   * {@linkcode Backend.fill} to a tensor that the function uses. The captured calls keep the memory of the tensors that
   * they use, so these may be disposed. On the CPU, a replay calls the function again.
   *
   * @param run The function. It must dispose each tensor that it makes, or return it: by itself, or as a member of an array
   * or an object. It must not dispose other tensors, nor copy to or from the host, measure, synchronize, capture or
   * replay.
   * @returns The captured calls. Dispose them to free the result and the workspace.
   * @throws {TypeError} If the function does what a replay cannot repeat. The backend remains usable.
   * @throws The error of `run`.
   *
   * @example Replay a layer
   * ```ts
   * import { Generator, openBackend } from "@yamoe/yamoe";
   * import { assertNotEquals } from "@std/assert";
   *
   * using backend = await openBackend("cpu", { threads: 1 });
   * const random = new Generator(0);
   * using hidden = backend.upload(random.randn([5, 16]));
   * using weight = backend.upload(random.randn([4, 16]));
   * using gateUpProj = backend.upload(random.randn([4, 16, 64]));
   * using downProj = backend.upload(random.randn([4, 32, 16]));
   * const router = { weight, options: { kind: "softmax-renormalize", topK: 2 } } as const;
   *
   * using layer = await backend.capture(() => backend.moe(hidden, { router, gateUpProj, downProj }));
   * const first = await backend.download(layer.result);
   * await backend.fill(hidden, (piece) => void piece.fill(0.5));
   * await layer.replay();
   * assertNotEquals(await backend.download(layer.result), first);
   * ```
   */
  capture<Result>(run: () => Promise<Result>): Promise<Captured<Result>>;
  /** The steps of a layer, one by one. */
  readonly ops: BackendOps;
  /**
   * Runs a resolved call of {@linkcode Backend.experts}.
   *
   * @internal
   */
  runExperts(call: ExpertsCall<BackendTensor>): Promise<BackendTensor>;
  /**
   * The {@linkcode Backend.ops} for resolved calls.
   *
   * @internal
   */
  readonly steps: BackendSteps;
  /** Waits for all calls that have been started. */
  synchronize(): Promise<void>;
  /**
   * Runs a function and measures the time of the work that it starts. On a GPU, the work begins when all of it is queued, so
   * that the device's time does not contain the host's. That is impossible if the function itself waits for the device or
   * takes longer than 20 ms: then the device's clock starts before.
   */
  measure<Result>(run: () => Promise<Result>): Promise<Measurement<Result>>;
  /**
   * Runs a function kernel by kernel and measures the device time of each. The function is one that
   * {@linkcode Backend.capture} takes; the tensors that it returns are disposed. Only available on a GPU.
   */
  profile?(run: () => Promise<unknown>): Promise<KernelTime[]>;
  /** Evicts all data from the caches of the device. Not available on every backend. */
  flushCaches?(): void;
  /** Returns the peak rates of the device for a dtype, or undefined if they are unknown. */
  peakRates(dtype: DType): Promise<PeakRates | undefined>;
  /** Facts about the device and its software, for records of a run. */
  readonly details: BackendDetails;
}

/**
 * The calls of a captured function; see {@linkcode Backend.capture}.
 *
 * @typeParam Result The value that the function returned.
 */
export interface Captured<Result> extends Disposable {
  /** The value that the function returned. Its tensors are disposed with the captured calls. Each replay writes them again. */
  readonly result: Result;
  /**
   * Runs the calls again, after all calls that were started before. On a GPU, the promise resolves when the work is queued.
   *
   * @throws {TypeError} If the captured calls or the backend are disposed.
   */
  replay(): Promise<void>;
}

/** A range of a tensor's elements, in row-major order: from `start` up to but not including `end`. */
export interface ElementRange {
  /** The first element. */
  readonly start: number;
  /** The element after the last. */
  readonly end: number;
}

/** The highest rates that a device can reach. */
export interface PeakRates {
  /** Floating-point operations, in 10^12 per second. */
  readonly teraflops: number;
  /** Memory bandwidth, in 10^9 bytes per second. */
  readonly gigabytesPerSecond: number;
  /** The source of the rates: computed from the device's clocks and units, or measured on it. */
  readonly source: "device" | "measured";
}

/** The result of {@linkcode Backend.measure}. */
export interface Measurement<Result> {
  /** The value that the function resolved to. */
  readonly result: Result;
  /** The time on the device, by its own clock if it has one. */
  readonly milliseconds: number;
  /** The wall-clock time until the work was complete: that of the host and that of the device. */
  readonly wallMilliseconds: number;
  /** The time that the host took to run the function, which queues the work; null if the host computes. */
  readonly hostMilliseconds: number | null;
}

/** The time of one kernel; see {@linkcode Backend.profile}. */
export interface KernelTime {
  /** The name of the kernel. */
  readonly kernel: string;
  /** The device time in milliseconds, with an event before and after the kernel. */
  readonly milliseconds: number;
  /** Useful floating-point operations; null if they are not known. */
  readonly flops: number | null;
  /** The bytes that must be read or written at least once; null if they are not known. */
  readonly bytes: number | null;
  /** For a product of experts: how many experts `bytes` counts, which are all that can have work, and the bytes of each one. */
  readonly experts?: { readonly count: number; readonly bytes: number } | undefined;
}

/** The names of the backends. */
export type BackendName = "cpu" | "cuda";
