// The CPU backend: tensors in shared memory, computed by workers with WebAssembly kernels or a BLAS.
import type {
  Backend,
  BackendDetails,
  BackendTensor,
  Captured,
  ElementRange,
  Measurement,
  PackedBackendTensor,
  PeakRates,
} from "../backend/backend.ts";
import { Captures } from "../backend/captures.ts";
import { makeParts } from "../backend/upload_packed.ts";
import { noDetails } from "../backend/details.ts";
import { foreignTensorError } from "../backend/foreign_tensor.ts";
import { expectFunction } from "../contract/checks.ts";
import type { ExpertsInputs, ExpertsOptions } from "../contract/experts.ts";
import { mapInputs } from "../contract/experts_inputs.ts";
import { type ExpertsCall, resolveExperts } from "../contract/resolve_experts.ts";
import { resolveMoe } from "../contract/resolve_moe.ts";
import { resolveRange } from "../backend/element_range.ts";
import { MemoryCounter } from "../backend/memory_counter.ts";
import type { MoeLayer, MoeOptions } from "../contract/moe.ts";
import type { BackendOps } from "../contract/ops.ts";
import { shareAndRunMoe } from "../backend/run_moe.ts";
import { resolvedOps } from "../backend/steps.ts";
import {
  bytesPerElement,
  checkTensor,
  type DType,
  elementCount,
  type Tensor,
  type TensorData,
  viewOf,
  zeros,
} from "../tensor/tensor.ts";
import { checkPacked } from "../tensor/packed.ts";
import {
  describeParts,
  isPacked,
  mapWeight,
  type PackedFormat,
  type PackedSpec,
  type PackedTensor,
} from "../tensor/packed_tensor.ts";
import { WorkerPool } from "../wasm/worker_pool.ts";
import { CapturedCalls, Recording } from "./captured_calls.ts";
import { findBlas, type FoundBlas } from "./blas.ts";
import { cpuName } from "./device.ts";
import { expertsJob } from "./experts_job.ts";
import { CpuOps } from "./ops.ts";
import { PeakMeter } from "./peak.ts";
import { blasCut, kernelCut, planExperts } from "./plan.ts";
import { Recycler } from "./recycler.ts";
import { sortAssignments } from "./sort.ts";
import { CpuTensor, SharedElements } from "./tensor.ts";

/** Options of {@linkcode CpuBackend}. */
export interface CpuOptions {
  /** The worker pool. It stays open when the backend is disposed. Without it, the backend opens a pool of its own. */
  readonly pool?: WorkerPool | undefined;
  /** The number of threads of the backend's own pool. */
  readonly threads?: number | undefined;
  /** The library that multiplies; see `OpenBackendOptions`. */
  readonly blas?: string | undefined;
}

/** The backend that computes on CPU threads. */
export class CpuBackend implements Backend {
  readonly name = "cpu";
  readonly device: string;
  readonly uploadMilliseconds = null;
  readonly details: BackendDetails = noDetails;
  /** The worker pool. */
  readonly pool: WorkerPool;
  readonly steps: CpuOps;
  readonly ops: BackendOps;
  readonly #captures = new Captures<Recording>();
  readonly #memory = new MemoryCounter();
  readonly #blas: FoundBlas | undefined;
  readonly #ownsPool: boolean;
  /** The buffers that the backend has allocated itself. */
  readonly #buffers = new WeakSet<ArrayBufferLike>();
  readonly #peak: PeakMeter;
  #recycler = new Recycler();
  #isClosed = false;

  constructor({ pool, threads, blas = "auto" }: CpuOptions) {
    this.#blas = findBlas(blas);
    this.#ownsPool = !pool;
    this.pool = pool ?? new WorkerPool(threads);
    this.device = cpuName();
    this.#peak = new PeakMeter(this.pool, this.#blas?.path);
    this.steps = new CpuOps({
      pool: this.pool,
      allocate: (dtype, shape) => this.allocate(dtype, shape),
      share: (tensor) => this.#own(tensor).share(),
    });
    this.ops = resolvedOps(this.steps);
  }

  get engine(): string {
    return this.#blas?.name ?? "WebAssembly";
  }

  get threads(): number {
    return this.pool.threads;
  }

  get memory(): MemoryCounter {
    return this.#memory;
  }

  resetPeakMemory(): void {
    this.#memory.reset();
  }

  allocate(dtype: DType, shape: readonly number[]): CpuTensor {
    this.#checkOpen();
    return this.#wrap(zeros(dtype, shape));
  }

  upload(tensor: Tensor): CpuTensor;
  upload(tensor: PackedTensor): PackedBackendTensor;
  upload(tensor: Tensor | PackedTensor): CpuTensor | PackedBackendTensor {
    this.#checkOpen();
    this.#captures.refuse("upload");
    if (isPacked<PackedTensor>(tensor)) {
      checkPacked("tensor", tensor);
      return makeParts(tensor, (part) => this.upload(part));
    }
    checkTensor("tensor", tensor);
    const { buffer } = tensor.data;
    // The backend's own memory, as `read` passes it to its callback, can be recycled.
    if (buffer instanceof SharedArrayBuffer && !buffer.growable && !this.#buffers.has(buffer)) {
      return new CpuTensor(this.#captures, tensor, this.#count(tensor.data));
    }
    const copy = this.allocate(tensor.dtype, tensor.shape);
    copy.data.set(tensor.data);
    return copy;
  }

  async uploadPacked(
    spec: PackedSpec,
    produce: (piece: PackedTensor, first: number) => void | Promise<void>,
  ): Promise<PackedBackendTensor> {
    this.#captures.refuse("upload");
    using scope = new DisposableStack();
    const made = scope.use(makeParts(describeParts(spec), ({ dtype, shape }) => this.allocate(dtype, shape)));
    await produce(made, 0);
    scope.move();
    return made;
  }

  supports(_format: PackedFormat): boolean {
    return true;
  }

  async fill(
    tensor: BackendTensor,
    produce: (piece: TensorData, start: number) => void | Promise<void>,
  ): Promise<void> {
    this.#captures.refuse("fill");
    expectFunction("produce", produce);
    using shared = this.#own(tensor).share();
    if (shared.data.length > 0) await produce(shared.data, 0);
  }

  async read(
    tensor: BackendTensor,
    consume: (piece: TensorData, start: number) => void | Promise<void>,
    range?: ElementRange,
  ): Promise<void> {
    this.#captures.refuse("read");
    expectFunction("consume", consume);
    using shared = this.#own(tensor).share();
    const { start, end } = resolveRange(shared, range);
    if (start < end) await consume(shared.data.subarray(start, end), start);
  }

  download(tensor: BackendTensor): Promise<Tensor> {
    return Promise.try(() => {
      this.#captures.refuse("download");
      const { dtype, shape, data } = this.#own(tensor);
      const copy = zeros(dtype, shape);
      copy.data.set(data);
      return copy;
    });
  }

  async experts(inputs: ExpertsInputs<BackendTensor>, options: ExpertsOptions = {}): Promise<CpuTensor> {
    return await this.runExperts({ inputs, shape: resolveExperts(inputs, options), onProgress: options.onProgress });
  }

  async runExperts({ inputs, shape, onProgress }: ExpertsCall<BackendTensor>): Promise<CpuTensor> {
    using shared = new DisposableStack();
    const share = (tensor: BackendTensor) => shared.use(this.#own(tensor).share());
    const tensors = mapInputs(inputs, share, (weight) => mapWeight(weight, share));
    const { dtype, tokens, hidden, intermediate } = shape;
    const indices = tensors.routerIndices.data as Int32Array;
    // The order of a library's sums may depend on the number of rows.
    const blas = shape.batchInvariant ? undefined : this.#blas;

    const sorted = sortAssignments(indices, shape);
    const kept = sorted.tokens.length;
    const plan = planExperts(shape, sorted.offsets, blas ? blasCut : kernelCut(this.threads), this.threads);

    // The activations are no longer needed when the first output row is written.
    const inOutput = kept * intermediate <= tokens * hidden;
    using workspace = new DisposableStack();
    using results = new DisposableStack();
    const expertOutputs = workspace.use(this.#obtain(dtype, [kept, hidden]).tensor);
    const separateActivations = inOutput ? undefined : workspace.use(this.#obtain(dtype, [kept, intermediate]).tensor);
    // The output comes last: if the previous output is still in use, no memory of its size is free, and the recycler drops
    // what is left.
    const { tensor: output, isRecycled } = this.#obtain(dtype, [tokens, hidden]);
    results.use(output);
    const job = expertsJob(shape, tensors, sorted, plan, {
      activations: separateActivations ?? output,
      expertOutputs,
      output,
      dirty: isRecycled ? tokens * hidden : inOutput ? kept * intermediate : 0,
    }, blas?.path);

    const { progress } = job;
    const report = onProgress && (() => {
      try {
        onProgress(plan.doneFraction(progress[0]!));
      } catch (error) {
        Atomics.store(progress, 0, job.items.length); // cancels the items that no worker has taken
        throw error;
      }
    });
    try {
      await this.pool.run("experts", job, report);
    } catch (error) {
      this.#recycler = new Recycler(); // workers that have not ended yet may write to the memory of this call
      throw error;
    }
    results.move();
    return output;
  }

  async moe(
    hidden: BackendTensor,
    layer: MoeLayer<BackendTensor>,
    options: MoeOptions = {},
  ): Promise<BackendTensor> {
    const call = { ...options, hidden, layer, shape: resolveMoe(hidden, layer, options) };
    return await shareAndRunMoe(this, (tensor) => this.#own(tensor).share(), call);
  }

  async capture<Result>(run: () => Promise<Result>): Promise<Captured<Result>> {
    expectFunction("run", run);
    this.#checkOpen();
    this.#captures.refuse("capture");
    using cleanup = new DisposableStack();
    const recording = cleanup.use(new Recording(this.#captures));
    const captured = await this.#captures.run(recording, run);
    cleanup.move();
    return new CapturedCalls(this.#captures, recording, run, captured);
  }

  synchronize(): Promise<void> {
    return Promise.try(() => {
      this.#checkOpen();
      this.#captures.refuse("synchronize");
    });
  }

  async measure<Result>(run: () => Promise<Result>): Promise<Measurement<Result>> {
    expectFunction("run", run);
    this.#checkOpen();
    this.#captures.refuse("measure");
    const start = performance.now();
    const result = await run();
    const milliseconds = performance.now() - start;
    return { result, milliseconds, wallMilliseconds: milliseconds, hostMilliseconds: null };
  }

  /** Measures the peaks. A later call measures again and returns the higher rates, for a machine that was busy before. */
  async peakRates(): Promise<PeakRates> {
    this.#checkOpen();
    return await this.#peak.measure();
  }

  /** Returns a tensor of zeros, or recycled memory with its old contents. */
  #obtain(dtype: DType, shape: readonly number[]): { readonly tensor: CpuTensor; readonly isRecycled: boolean } {
    const count = elementCount(shape);
    const memory = this.#recycler.take(count * bytesPerElement(dtype));
    const tensor = memory ? { dtype, shape, data: viewOf(dtype, memory, 0, count) } : zeros(dtype, shape);
    return { tensor: this.#wrap(tensor, this.#recycler), isRecycled: memory !== undefined };
  }

  /** Makes a tensor of memory that the backend has allocated. The memory goes to a recycler in the end. */
  #wrap(tensor: Tensor, recycler?: Recycler): CpuTensor {
    this.#buffers.add(tensor.data.buffer);
    const release = recycler && (({ buffer }: TensorData) => recycler.give(buffer as SharedArrayBuffer));
    return new CpuTensor(this.#captures, tensor, this.#count(tensor.data, release));
  }

  /** Counts elements as live until they are released. */
  #count(data: TensorData, release?: (data: TensorData) => void): SharedElements {
    this.#memory.take(data.byteLength);
    return new SharedElements(data, () => {
      this.#memory.give(data.byteLength);
      release?.(data);
    });
  }

  #own(tensor: BackendTensor): CpuTensor {
    this.#checkOpen();
    if (!(tensor instanceof CpuTensor && tensor.belongsTo(this.#captures))) {
      throw foreignTensorError(tensor);
    }
    return this.#captures.recording?.keep(tensor) ?? tensor;
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new TypeError("Cannot use a backend that is disposed");
  }

  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#recycler.clear();
    if (this.#ownsPool) this.pool[Symbol.dispose]();
  }
}
