// The CPU backend: tensors in shared memory, computed by the workers, with WebAssembly kernels or a BLAS.
import type {
  Backend,
  BackendDetails,
  BackendTensor,
  ElementRange,
  Measurement,
  PeakRates,
} from "../backend/backend.ts";
import { noDetails } from "../backend/details.ts";
import type { ExpertsInputs, ExpertsOptions } from "../contract/experts.ts";
import { fromBfloat16 } from "../tensor/bfloat16.ts";
import { checkIndices, type ExpertsCall, type ResolvedExperts, resolveExperts } from "../contract/resolve_experts.ts";
import { MemoryCounter } from "../backend/memory_counter.ts";
import type { MoeLayer, MoeOptions } from "../contract/moe.ts";
import { resolveMoe } from "../contract/resolve_moe.ts";
import type { BackendOps } from "../contract/ops.ts";
import { resolvedOps } from "../backend/steps.ts";
import { runMoe } from "../backend/run_moe.ts";
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
import { dtypeCode, elements } from "../wasm/elements.ts";
import { Engine } from "../wasm/engine.ts";
import { activationCodes } from "../wasm/module.ts";
import { findBlas, type FoundBlas } from "./blas.ts";
import { cpuName } from "./device.ts";
import { CpuOps } from "./ops.ts";
import { blasCut, blocking, kernelCut, planExperts } from "./plan.ts";
import { Recycler } from "./recycler.ts";
import { sortAssignments, sortWeights } from "./sort.ts";

/** A tensor in shared memory. */
class CpuTensor implements BackendTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly owner: CpuBackend;
  readonly #counter: MemoryCounter;
  readonly #recycler: Recycler | undefined;
  #data: TensorData | undefined;

  /** Memory that is the backend's own goes to the recycler in the end. */
  constructor(owner: CpuBackend, counter: MemoryCounter, { dtype, shape, data }: Tensor, recycler?: Recycler) {
    this.owner = owner;
    this.dtype = dtype;
    this.shape = shape;
    this.#data = data;
    this.#counter = counter;
    this.#recycler = recycler;
    counter.take(data.byteLength);
  }

  get data(): TensorData {
    if (!this.#data) throw new TypeError("Cannot use a tensor that is disposed");
    return this.#data;
  }

  [Symbol.dispose](): void {
    if (!this.#data) return;
    this.#counter.give(this.#data.byteLength);
    this.#recycler?.give(this.#data.buffer as SharedArrayBuffer);
    this.#data = undefined;
  }
}

/** Options of {@linkcode CpuBackend}. */
export interface CpuOptions {
  /** Worker pool in place of one of its own. It stays open when the backend is closed. */
  readonly engine?: Engine | undefined;
  readonly threads?: number | undefined;
  /** Which library multiplies; see `OpenBackendOptions`. */
  readonly blas?: string | undefined;
}

/** The op on CPU threads. */
export class CpuBackend implements Backend {
  readonly name = "cpu";
  readonly device: string;
  readonly uploadMilliseconds = null;
  readonly details: BackendDetails = noDetails;
  /** The worker pool. */
  readonly pool: Engine;
  readonly #memory = new MemoryCounter();
  readonly #recycler = new Recycler();
  readonly #blas: FoundBlas | undefined;
  readonly #ownsPool: boolean;
  readonly steps: CpuOps<CpuTensor>;
  readonly ops: BackendOps;
  #peak: Promise<PeakRates> | undefined;

  constructor({ engine, threads, blas = "auto" }: CpuOptions) {
    this.#blas = findBlas(blas);
    this.#ownsPool = !engine;
    this.pool = engine ?? new Engine(threads);
    this.device = cpuName();
    this.steps = new CpuOps({
      pool: this.pool,
      allocate: (dtype, shape) => this.allocate(dtype, shape),
      own: (tensor) => this.#own(tensor),
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
    return new CpuTensor(this, this.#memory, zeros(dtype, shape));
  }

  upload(tensor: Tensor): CpuTensor {
    checkTensor("tensor", tensor);
    if (tensor.data.buffer instanceof SharedArrayBuffer) return new CpuTensor(this, this.#memory, tensor);
    const copy = this.allocate(tensor.dtype, tensor.shape);
    copy.data.set(tensor.data);
    return copy;
  }

  async fill(
    tensor: BackendTensor,
    produce: (piece: TensorData, start: number) => void | Promise<void>,
  ): Promise<void> {
    await produce(this.#own(tensor).data, 0);
  }

  async read(
    tensor: BackendTensor,
    consume: (piece: TensorData, start: number) => void | Promise<void>,
    { start, end }: ElementRange = { start: 0, end: elementCount(tensor.shape) },
  ): Promise<void> {
    await consume(this.#own(tensor).data.subarray(start, end), start);
  }

  download(tensor: BackendTensor): Promise<Tensor> {
    const { dtype, shape, data } = this.#own(tensor);
    const copy = zeros(dtype, shape);
    copy.data.set(data);
    return Promise.resolve(copy);
  }

  async experts(inputs: ExpertsInputs<BackendTensor>, options: ExpertsOptions = {}): Promise<CpuTensor> {
    const shape = resolveExperts(inputs, options);
    checkIndices(this.#own(inputs.routerIndices).data, shape);
    return await this.runExperts({ inputs, shape, onProgress: options.onProgress });
  }

  async runExperts({ inputs, shape, onProgress }: ExpertsCall<BackendTensor>): Promise<CpuTensor> {
    const { dtype, tokens, hidden, intermediate, topK } = shape;
    const indices = this.#own(inputs.routerIndices).data as Int32Array;
    const own = (tensor: BackendTensor) => elements(this.#own(tensor).data);
    // How a library adds up may depend on the number of rows.
    const blas = shape.batchInvariant ? undefined : this.#blas;

    const sorted = sortAssignments(indices, shape);
    const kept = sorted.tokens.length;
    const plan = planExperts(shape, sorted.offsets, blas ? blasCut : kernelCut(this.threads), this.threads);

    // The activations are dead before the first output row is written.
    const inOutput = kept * intermediate <= tokens * hidden;
    // The output last: where the one before is still in use, there is no memory for it, and what is free is let go of.
    using workspace = new DisposableStack();
    const expertOutputs = workspace.use(this.#obtain(dtype, [kept, hidden]).tensor);
    const apart = inOutput ? undefined : workspace.use(this.#obtain(dtype, [kept, intermediate]).tensor);
    const { tensor: output, isUsed } = this.#obtain(dtype, [tokens, hidden]);
    const activations = apart ?? output;

    const progress = new Int32Array(new SharedArrayBuffer((1 + plan.groupSizes.length) * 4));
    const report = onProgress && (() => onProgress(plan.doneFraction(progress[0]!)));
    const job = {
      hidden,
      intermediate,
      topK,
      dtype: dtypeCode(dtype),
      inputDtype: dtypeCode(dtype),
      outputDtype: dtypeCode(dtype),
      activation: activationCodes[shape.activation],
      alpha: shape.activationAlpha,
      limit: shape.activationLimit,
      gated: shape.gated,
      interleaved: shape.gateUpLayout === "interleaved",
      outIn: shape.weightLayout === "out-in",
      hiddenStates: own(inputs.hiddenStates),
      gateUpProj: own(inputs.gateUpProj),
      gateUpProjBias: inputs.gateUpProjBias && own(inputs.gateUpProjBias),
      downProj: own(inputs.downProj),
      downProjBias: inputs.downProjBias && own(inputs.downProjBias),
      weights: assignmentWeights(this.#own(inputs.routingWeights), indices, shape),
      addend: inputs.addend && own(inputs.addend),
      addendWeights: inputs.addendWeights && own(inputs.addendWeights) as Float32Array,
      tokens: sorted.tokens,
      rowScales: inputs.inputWeights && sortWeights(this.#own(inputs.inputWeights).data as Float32Array, sorted),
      rows: sorted.rows,
      activations: elements(activations.data),
      expertOutputs: elements(expertOutputs.data),
      output: elements(output.data),
      dirty: isUsed ? tokens * hidden : inOutput ? kept * intermediate : 0,
      items: plan.items,
      progress,
      groupSizes: plan.groupSizes,
      blocking,
      blas: blas?.path,
    };
    await this.pool.run("experts", job, report);
    return output;
  }

  async moe(hidden: BackendTensor, layer: MoeLayer<BackendTensor>, options: MoeOptions = {}): Promise<BackendTensor> {
    const shape = resolveMoe(hidden, layer, options);
    return await runMoe(this, { hidden, layer, shape, onProgress: options.onProgress });
  }

  synchronize(): Promise<void> {
    return Promise.resolve();
  }

  async measure<Result>(run: () => Promise<Result>): Promise<Measurement<Result>> {
    const start = performance.now();
    const result = await run();
    const milliseconds = performance.now() - start;
    return { result, milliseconds, wallMilliseconds: milliseconds };
  }

  async peakRates(): Promise<PeakRates> {
    const { measurePeak } = await import("./peak.ts");
    return await (this.#peak ??= measurePeak(this.pool, this.#blas?.path));
  }

  /** A tensor of zeros or, where its memory was used before, of whatever that held. */
  #obtain(dtype: DType, shape: readonly number[]): { readonly tensor: CpuTensor; readonly isUsed: boolean } {
    const count = elementCount(shape);
    const memory = this.#recycler.take(count * bytesPerElement(dtype));
    const tensor = memory ? { dtype, shape, data: viewOf(dtype, memory, 0, count) } : zeros(dtype, shape);
    return { tensor: new CpuTensor(this, this.#memory, tensor, this.#recycler), isUsed: memory !== undefined };
  }

  #own(tensor: BackendTensor): CpuTensor {
    if (tensor instanceof CpuTensor && tensor.owner === this) return tensor;
    throw new TypeError("Cannot use a tensor of another backend");
  }

  [Symbol.dispose](): void {
    if (this.#ownsPool) this.pool[Symbol.dispose]();
  }
}

/** [T, K], f32: the weight of each assignment, picked from E columns where the weights are dense. */
function assignmentWeights(
  { dtype, data }: CpuTensor,
  indices: Int32Array,
  { topK, experts, denseWeights }: ResolvedExperts,
): Float32Array {
  let values: ArrayLike<number> = data;
  if (dtype === "bf16") fromBfloat16(data as Uint16Array, values = new Float32Array(data.length));
  const weights = new Float32Array(new SharedArrayBuffer(indices.length * 4));
  if (!denseWeights) weights.set(values);
  else for (let i = 0; i < indices.length; i++) weights[i] = values[Math.floor(i / topK) * experts + indices[i]!]!;
  return weights;
}
