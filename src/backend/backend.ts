/**
 * Where the op runs: one interface over the CPU and the GPU.
 *
 * @module
 */
import type { ExpertsInputs, ExpertsOptions } from "../contract/experts.ts";
import type { MoeLayer, MoeOptions } from "../contract/moe.ts";
import type { BackendOps } from "../contract/ops.ts";
import type { ExpertsCall } from "../contract/resolve_experts.ts";
import type { BackendDetails } from "./details.ts";
import type { BackendSteps } from "./steps.ts";
import type { BackendTensor } from "../tensor/backend_tensor.ts";
import type { DType, Tensor } from "../tensor/tensor.ts";

export type { BackendDetails } from "./details.ts";
export type { BackendTensor } from "../tensor/backend_tensor.ts";

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
  /**
   * Runs a call of {@linkcode Backend.experts} that is resolved.
   *
   * @internal
   */
  runExperts(call: ExpertsCall<BackendTensor>): Promise<BackendTensor>;
  /**
   * The {@linkcode Backend.ops} for calls that are resolved.
   *
   * @internal
   */
  readonly steps: BackendSteps;
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
