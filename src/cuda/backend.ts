// The CUDA backend: tensors in device memory, computed by the kernels of cuda/.
import type {
  Backend,
  BackendDetails,
  BackendTensor,
  Captured,
  ElementRange,
  KernelTime,
  Measurement,
  PackedBackendTensor,
  PeakRates,
} from "../backend/backend.ts";
import { Captures } from "../backend/captures.ts";
import { resolveRange } from "../backend/element_range.ts";
import { foreignTensorError } from "../backend/foreign_tensor.ts";
import { MemoryCounter } from "../backend/memory_counter.ts";
import { shareAndRunMoe } from "../backend/run_moe.ts";
import { resolvedOps } from "../backend/steps.ts";
import { BackendUnavailableError } from "../backend/unavailable_error.ts";
import { expectFunction } from "../contract/checks.ts";
import type { ExpertsInputs, ExpertsOptions } from "../contract/experts.ts";
import type { MoeLayer, MoeOptions } from "../contract/moe.ts";
import type { BackendOps } from "../contract/ops.ts";
import { Repeated } from "../contract/repeated.ts";
import { type ExpertsCall, resolveExperts } from "../contract/resolve_experts.ts";
import { resolveMoe } from "../contract/resolve_moe.ts";
import { checkPacked } from "../tensor/packed.ts";
import { isPacked, type PackedFormat, type PackedSpec, type PackedTensor } from "../tensor/packed_tensor.ts";
import {
  bytesPerElement,
  checkDType,
  checkShape,
  checkTensor,
  type DType,
  elementCount,
  formatShape,
  type Tensor,
  zeros,
} from "../tensor/tensor.ts";
import { cudaDetails } from "./details.ts";
import { Context } from "./driver/context.ts";
import { type DeviceProperties, deviceProperties } from "./driver/device.ts";
import { asUnavailable, Driver } from "./driver/driver.ts";
import type { KernelLaunch } from "./driver/kernel.ts";
import { DeviceBuffer, keepFreedMemory } from "./driver/memory.ts";
import { Module } from "./driver/module.ts";
import { Stream } from "./driver/stream.ts";
import { manifest } from "./images/built/manifest.ts";
import { chooseImage, loadImage } from "./images/load.ts";
import { isVerified } from "./images/verified.ts";
import { type CudaHost, CudaOps } from "./ops.ts";
import type { CudaOptions, KernelOptions } from "./options.ts";
import { type Plan, planLaunches } from "./plan/experts.ts";
import { isPlannable, type LayerPlan, planLayer } from "./plan/layer.ts";
import { devicePeak } from "./plan/peak.ts";
import { counterCount } from "./plan/stream.ts";
import { PlannedCalls } from "./planned_calls.ts";
import { PreparedPlan } from "./prepared_plan.ts";
import { CapturedGraph, Profile, type QueuedKernel, Recording } from "./recording.ts";
import { Stopwatch } from "./stopwatch.ts";
import { CudaTensor } from "./tensor.ts";
import { type ExpertsHandler, type PieceHandler, Transfers } from "./transfers.ts";
import { PackedUpload } from "./upload_packed.ts";

/**
 * Opens a GPU.
 *
 * @throws {BackendUnavailableError} If the GPU cannot be used.
 * @throws {RangeError} If the device does not exist.
 */
export async function openCudaBackend(
  { device = 0, library, onlyVerified = false, image, ...kernelOptions }: CudaOptions = {},
): Promise<CudaBackend> {
  const driver = new Driver(library);
  if (!Number.isInteger(device) || device < 0 || device >= driver.deviceCount) {
    throw new RangeError(`device must be an integer from 0 to ${driver.deviceCount - 1}, got ${device}`);
  }
  const properties = asUnavailable(() => deviceProperties(driver, device));
  const imageName = chooseImage(properties.computeCapability);
  if (onlyVerified && !isVerified(imageName)) {
    throw new BackendUnavailableError(
      `Cannot use the ${properties.name} automatically: its kernels (${imageName}) have not been verified on such a GPU; ` +
        `choose the cuda backend to use them anyway`,
    );
  }
  const loaded = image ?? await loadImage(imageName);
  return asUnavailable(() => new CudaBackend(driver, properties, imageName, loaded, kernelOptions));
}

/** The backend of one GPU. */
export class CudaBackend implements Backend {
  readonly name = "cuda";
  readonly threads = 0;
  readonly device: string;
  readonly properties: DeviceProperties;
  readonly memory = new MemoryCounter();
  /** The name of the kernel image. */
  readonly imageName: string;
  readonly engine: string;
  readonly steps: CudaOps<CudaTensor>;
  readonly host: CudaHost<CudaTensor>;
  readonly ops: BackendOps;
  readonly #stream: Stream;
  readonly #stopwatch: Stopwatch;
  readonly #context: Context;
  readonly #captures = new Captures<Recording>();
  readonly #experts = new Repeated(resolveExperts);
  readonly #layers = new Repeated(resolveMoe<BackendTensor>);
  readonly #calls: PlannedCalls;
  #flushed: DeviceBuffer | undefined;
  readonly #driverVersion: number;
  readonly #transfers: Transfers;
  readonly #owned: DisposableStack;

  constructor(
    driver: Driver,
    properties: DeviceProperties,
    imageName: string,
    image: Uint8Array<ArrayBuffer>,
    { tileRows, checkedMemory = false }: KernelOptions = {},
  ) {
    this.#driverVersion = driver.version;
    this.properties = properties;
    this.device = properties.name;
    this.engine = this.imageName = imageName;
    const { kernels } = manifest.images[imageName]!;
    using owned = new DisposableStack();
    const context = this.#context = owned.use(new Context(driver, properties.ordinal));
    owned.use(keepFreedMemory(context));
    const module = owned.use(new Module(context, image, kernels));
    this.#stream = owned.use(new Stream(context, { keepsFreed: !checkedMemory }));
    const launch = (kernel: KernelLaunch) => module.launch(this.#stream, kernel);
    const counters = owned.use(new DeviceBuffer(this.#stream, 4 * counterCount, new MemoryCounter())); // not a tensor
    counters.clear();
    this.#stopwatch = owned.use(new Stopwatch(context, this.#stream, launch));
    this.#transfers = owned.use(new Transfers(context, this.#stream));
    this.host = {
      ...{ context, stream: this.#stream, device: properties, kernels, counters: counters.pointer },
      allocate: (dtype, shape) => this.allocate(dtype, shape),
      own: (tensor) => this.#own(tensor),
      launch: (kernel, work = { flops: null, bytes: null }) =>
        this.queue({ kernel: kernel.kernel, ...work }, () => launch(kernel)),
      queue: (kernel, work) => this.queue(kernel, work),
      ...{ beforeWait: (action) => this.#beforeWait(action), isCapturing: () => !!this.#captures.recording },
    };
    this.steps = new CudaOps(this.host);
    const prepare = (plan: Plan | LayerPlan) => new PreparedPlan(plan, module, counters.pointer, checkedMemory);
    this.#calls = owned.use(
      new PlannedCalls(
        {
          stream: this.#stream,
          captures: this.#captures,
          own: this.host.own,
          allocate: (dtype, shape) => this.allocate(dtype, shape),
          allocateBytes: (bytes) => this.#allocate(bytes),
        },
        (shape) => prepare(planLaunches(shape, properties, kernels, tileRows)),
        (shape) => prepare(planLayer(shape, properties, kernels, tileRows)),
      ),
    );
    this.ops = resolvedOps(this.steps);
    this.#owned = owned.move();
  }

  /** The free and the total device memory that the driver reports. */
  driverMemory(): { freeBytes: number; totalBytes: number } {
    const free = new BigUint64Array(1), total = new BigUint64Array(1);
    this.#context.call("cuMemGetInfo_v2", free, total);
    return { freeBytes: Number(free[0]), totalBytes: Number(total[0]) };
  }

  get uploadMilliseconds(): number {
    return this.#transfers.uploadMilliseconds;
  }

  resetPeakMemory(): void {
    this.memory.reset();
  }

  allocate(dtype: DType, shape: readonly number[]): CudaTensor {
    if (this.#owned.disposed) throw new TypeError("Cannot use a backend that is disposed");
    checkDType("dtype", dtype);
    checkShape("shape", shape);
    const bytes = elementCount(shape) * bytesPerElement(dtype);
    if (!Number.isSafeInteger(bytes)) {
      throw new RangeError(`Cannot allocate ${formatShape(shape)} of ${dtype}: its size is not a safe integer`);
    }
    return new CudaTensor(this.#captures, dtype, shape, this.#allocate(bytes));
  }

  #allocate(bytes: number): DeviceBuffer {
    return this.#captures.recording?.allocate(bytes) ?? new DeviceBuffer(this.#stream, bytes, this.memory);
  }

  upload(tensor: Tensor): CudaTensor;
  upload(tensor: PackedTensor): PackedBackendTensor;
  upload(tensor: Tensor | PackedTensor): CudaTensor | PackedBackendTensor {
    this.#beforeWait("upload");
    if (isPacked<PackedTensor>(tensor)) {
      checkPacked("tensor", tensor);
      using upload = new PackedUpload(tensor, this.host);
      this.#transfers.upload(() => upload.writeAll(tensor));
      return upload.finish();
    }
    checkTensor("tensor", tensor);
    using cleanup = new DisposableStack();
    const copy = cleanup.use(this.allocate(tensor.dtype, tensor.shape));
    this.#transfers.upload(() => copy.buffer.write(tensor.data as BufferSource));
    cleanup.move();
    return copy;
  }

  async uploadPacked(spec: PackedSpec, produce: ExpertsHandler): Promise<PackedBackendTensor> {
    this.#beforeWait("upload");
    using upload = new PackedUpload(spec, this.host);
    await this.#transfers.uploadPacked(upload, produce);
    return upload.finish();
  }

  supports(_format: PackedFormat): boolean {
    return true;
  }

  async fill(tensor: BackendTensor, produce: PieceHandler): Promise<void> {
    expectFunction("produce", produce);
    this.#beforeWait("fill");
    using target = this.#own(tensor).share();
    await this.#transfers.fill(target, produce);
  }

  async read(tensor: BackendTensor, consume: PieceHandler, range?: ElementRange): Promise<void> {
    expectFunction("consume", consume);
    this.#beforeWait("read");
    using source = this.#own(tensor).share();
    await this.#transfers.read(source, consume, resolveRange(source, range));
  }

  async download(tensor: BackendTensor): Promise<Tensor> {
    this.#captures.refuse("download");
    const { dtype, shape } = this.#own(tensor);
    const copy = zeros(dtype, shape);
    await this.read(tensor, (piece, start) => copy.data.set(piece, start));
    return copy;
  }

  async experts(inputs: ExpertsInputs<BackendTensor>, options: ExpertsOptions = {}): Promise<CudaTensor> {
    const shape = this.#experts.resolve(inputs, options);
    return await this.runExperts({ inputs, shape, onProgress: options.onProgress });
  }

  runExperts(call: ExpertsCall<BackendTensor>): Promise<CudaTensor> {
    return Promise.try(() => this.#calls.experts(call));
  }

  async capture<Result>(run: () => Promise<Result>): Promise<Captured<Result>> {
    expectFunction("run", run);
    this.#captures.refuse("capture");
    using cleanup = new DisposableStack();
    const recording = cleanup.use(new Recording(this.#stream, this.memory));
    const captured = await this.#captures.run(recording, run);
    cleanup.move();
    return new CapturedGraph(captured, recording, this.#captures);
  }

  async profile(run: () => Promise<unknown>): Promise<KernelTime[]> {
    expectFunction("run", run);
    this.#captures.refuse("profile");
    using profile = new Profile(this.#stream, this.memory, this.#stopwatch);
    const { tensors } = await this.#captures.run(profile, run);
    for (const tensor of tensors) tensor[Symbol.dispose]();
    return profile.times;
  }

  /** Queues a kernel on the stream. In a captured function, it is also recorded, and repeated by each replay. */
  queue(kernel: QueuedKernel, work: () => void): void {
    const { recording } = this.#captures;
    if (recording) recording.queue(kernel, work);
    else work();
  }

  async moe(hidden: BackendTensor, layer: MoeLayer<BackendTensor>, options: MoeOptions = {}): Promise<BackendTensor> {
    const shape = this.#layers.resolve(hidden, layer, options);
    if (!isPlannable(layer)) {
      return await shareAndRunMoe(this, (tensor) => this.#own(tensor).share(), { ...options, hidden, layer, shape });
    }
    return this.#calls.layer(hidden, layer, shape);
  }

  synchronize(): Promise<void> {
    return Promise.try(() => {
      this.#beforeWait("synchronize");
      this.#stream.synchronize();
    });
  }

  async measure<Result>(run: () => Promise<Result>, prepare?: () => void): Promise<Measurement<Result>> {
    expectFunction("run", run);
    this.#captures.refuse("measure");
    return await this.#stopwatch.measure(run, prepare);
  }

  flushCaches(): void {
    this.#flushed ??= this.#owned.use(
      new DeviceBuffer(this.#stream, 2 * this.properties.l2Bytes, new MemoryCounter()), // not a tensor: not counted
    );
    this.#flushed.clear();
  }

  peakRates(dtype: DType): Promise<PeakRates | undefined> {
    return Promise.resolve(devicePeak(this.properties, dtype));
  }

  get details(): BackendDetails {
    return cudaDetails(this.properties, this.imageName, this.#driverVersion);
  }

  /** Prepares an action that waits for the stream. */
  #beforeWait(action: string): void {
    this.#captures.refuse(action);
    this.#stopwatch.release();
  }

  #own(tensor: BackendTensor): CudaTensor {
    if (!(tensor instanceof CudaTensor && tensor.owner === this.#captures)) {
      throw foreignTensorError(tensor);
    }
    const { buffer } = tensor; // throws if it is disposed
    this.#captures.recording?.keep(buffer);
    return tensor;
  }

  [Symbol.dispose](): void {
    this.#owned[Symbol.dispose]();
  }
}
