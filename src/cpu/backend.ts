// The CPU backend: f16 tensors in shared memory, computed by the WebAssembly engine.
import type { Backend, BackendTensor, Measurement } from "../backend.ts";
import type { ExpertsInputs, ExpertsOptions } from "../experts.ts";
import { checkIndices, expertsShape, refuseAllBut } from "../experts_shape.ts";
import { MemoryCounter } from "../memory_counter.ts";
import { checkTensor, type DType, type Tensor, type TensorData, zeros } from "../tensor.ts";
import { Engine } from "../wasm/engine.ts";
import { cpuName } from "./device.ts";
import { planExperts } from "./plan.ts";
import { sortAssignments } from "./sort.ts";

const blocking = { depth: 384, rowTiles: 20 } as const;

/** A tensor in shared memory. */
class CpuTensor implements BackendTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly owner: CpuBackend;
  #data: TensorData | undefined;

  constructor(owner: CpuBackend, counter: MemoryCounter, { dtype, shape, data }: Tensor) {
    this.owner = owner;
    this.dtype = dtype;
    this.shape = shape;
    this.#data = data;
    this.#counter = counter;
    counter.take(data.byteLength);
  }

  readonly #counter: MemoryCounter;

  get data(): TensorData {
    if (!this.#data) throw new TypeError("Cannot use a tensor that is disposed");
    return this.#data;
  }

  [Symbol.dispose](): void {
    this.#counter.give(this.#data?.byteLength ?? 0);
    this.#data = undefined;
  }
}

/** The op on CPU threads. */
export class CpuBackend implements Backend {
  readonly name = "cpu";
  readonly device: string;
  readonly uploadMilliseconds = null;
  /** The worker pool. */
  readonly engine: Engine;
  readonly #memory = new MemoryCounter();

  readonly #ownsEngine: boolean;

  constructor(engine: Engine | number | undefined) {
    this.#ownsEngine = !(engine instanceof Engine);
    this.engine = engine instanceof Engine ? engine : new Engine(engine);
    this.device = cpuName();
  }

  get threads(): number {
    return this.engine.threads;
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
  ): Promise<void> {
    await consume(this.#own(tensor).data, 0);
  }

  download(tensor: BackendTensor): Promise<Tensor> {
    const { dtype, shape, data } = this.#own(tensor);
    const copy = zeros(dtype, shape);
    copy.data.set(data);
    return Promise.resolve(copy);
  }

  async experts(inputs: ExpertsInputs<BackendTensor>, options: ExpertsOptions = {}): Promise<CpuTensor> {
    const shape = expertsShape(inputs, options);
    refuseAllBut("cpu", shape);
    const { tokens, hidden, intermediate, experts, topK, denseWeights } = shape;
    const indices = this.#own(inputs.routerIndices).data as Int32Array;
    checkIndices(indices, shape);
    const halves = (tensor: BackendTensor) => bits(this.#own(tensor).data);

    const sorted = sortAssignments(indices, shape);
    const kept = sorted.tokens.length;
    const plan = planExperts(shape, sorted.offsets, this.threads);

    const output = this.allocate("f16", [tokens, hidden]);
    using workspace = new DisposableStack();
    const expertOutputs = workspace.use(this.allocate("f16", [kept, hidden]));
    // The activations are dead before the first output row is written.
    const inOutput = kept * intermediate <= tokens * hidden;
    const activations = inOutput ? output : workspace.use(this.allocate("f16", [kept, intermediate]));

    const progress = new Int32Array(new SharedArrayBuffer((1 + plan.groupSizes.length) * 4));
    const { onProgress } = options;
    const report = onProgress && (() => onProgress(plan.doneFraction(progress[0]!)));
    const job = {
      hidden,
      intermediate,
      topK,
      alpha: shape.activationAlpha,
      limit: shape.activationLimit,
      hiddenStates: halves(inputs.hiddenStates),
      gateUpProj: halves(inputs.gateUpProj),
      gateUpProjBias: inputs.gateUpProjBias && halves(inputs.gateUpProjBias),
      downProj: halves(inputs.downProj),
      downProjBias: inputs.downProjBias && halves(inputs.downProjBias),
      weights: assignmentWeights(this.#own(inputs.routingWeights).data, indices, topK, denseWeights ? experts : 0),
      tokens: sorted.tokens,
      rows: sorted.rows,
      activations: bits(activations.data),
      expertOutputs: bits(expertOutputs.data),
      output: bits(output.data),
      items: plan.items,
      progress,
      groupSizes: plan.groupSizes,
      blocking,
    };
    await this.engine.run("experts", job, report);
    return output;
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

  #own(tensor: BackendTensor): CpuTensor {
    if (tensor instanceof CpuTensor && tensor.owner === this) return tensor;
    throw new TypeError("Cannot use a tensor of another backend");
  }

  [Symbol.dispose](): void {
    if (this.#ownsEngine) this.engine[Symbol.dispose]();
  }
}

/** The bit patterns of half-precision numbers: arrays of one type are copied, others converted. */
function bits(data: TensorData): Uint16Array {
  return new Uint16Array(data.buffer, data.byteOffset, data.length);
}

/** [T, K], f32: the weight of each assignment, picked from `experts` columns where the weights are dense. */
function assignmentWeights(data: TensorData, indices: Int32Array, topK: number, experts: number): Float32Array {
  const weights = new Float32Array(new SharedArrayBuffer(indices.length * 4));
  if (experts === 0) weights.set(data);
  else for (let i = 0; i < indices.length; i++) weights[i] = data[Math.floor(i / topK) * experts + indices[i]!]!;
  return weights;
}
