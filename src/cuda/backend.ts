// The CUDA backend: tensors in device memory, computed by the kernels of cuda/.
import type {
  Backend,
  BackendDetails,
  BackendTensor,
  ElementRange,
  Measurement,
  PackedBackendTensor,
  PeakRates,
} from "../backend/backend.ts";
import { resolveRange } from "../backend/element_range.ts";
import { MemoryCounter } from "../backend/memory_counter.ts";
import { uploadParts } from "../backend/upload_packed.ts";
import { shareAndRunMoe } from "../backend/run_moe.ts";
import { resolvedOps } from "../backend/steps.ts";
import { BackendUnavailableError } from "../backend/unavailable_error.ts";
import type { ExpertsInputs, ExpertsOptions } from "../contract/experts.ts";
import { inputNames } from "../contract/experts_inputs.ts";
import { type ExpertsCall, type ResolvedExperts, resolveExperts } from "../contract/resolve_experts.ts";
import type { MoeLayer, MoeOptions } from "../contract/moe.ts";
import type { BackendOps } from "../contract/ops.ts";
import { isPacked, type PackedTensor } from "../tensor/packed_tensor.ts";
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
import { Context } from "./driver/context.ts";
import { type DeviceProperties, deviceProperties } from "./driver/device.ts";
import { asUnavailable, Driver, formatVersion } from "./driver/driver.ts";
import { Event } from "./driver/event.ts";
import { GraphCache } from "./driver/graph_cache.ts";
import { DeviceBuffer, keepFreedMemory } from "./driver/memory.ts";
import { Module } from "./driver/module.ts";
import { Stream } from "./driver/stream.ts";
import { manifest } from "./images/built/manifest.ts";
import { chooseImage, loadImage } from "./images/load.ts";
import { isVerified } from "./images/verified.ts";
import { type CudaHost, CudaOps } from "./ops.ts";
import { type Plan, planLaunches, type PlannedLaunch } from "./plan/experts.ts";
import { devicePeak } from "./plan/peak.ts";
import { type PointerTable, resolveLaunch } from "./resolve_launch.ts";
import { CudaTensor } from "./tensor.ts";
import { type PieceHandler, Transfers } from "./transfers.ts";

/** Options of {@linkcode openCudaBackend}. */
export interface CudaOptions {
  /** The index of the GPU, from 0. */
  readonly device?: number | undefined;
  /** The path of the driver's library. Defaults to searching the usual places. */
  readonly library?: string | undefined;
  /** Whether to refuse kernels that have not passed `yamoe verify` on a GPU of their architecture. */
  readonly onlyVerified?: boolean | undefined;
  /** The rows of the tiles to compute with. Defaults to the best for each call. */
  readonly tileRows?: number | undefined;
}

/**
 * Opens a GPU.
 *
 * @throws {BackendUnavailableError} If the GPU cannot be used.
 * @throws {RangeError} If the device does not exist.
 */
export async function openCudaBackend(
  { device = 0, library, onlyVerified = false, tileRows }: CudaOptions = {},
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
  const image = await loadImage(imageName);
  return asUnavailable(() => new CudaBackend(driver, properties, imageName, image, tileRows));
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
  readonly steps: CudaOps<CudaTensor>;
  /** What ops outside of this class need from it. */
  readonly host: CudaHost<CudaTensor>;
  readonly ops: BackendOps;
  readonly #module: Module;
  readonly #stream: Stream;
  readonly #start: Event;
  readonly #end: Event;
  readonly #context: Context;
  readonly #tileRows: number | undefined;
  #flushed: DeviceBuffer | undefined;
  #lastPlan: KeyedPlan | undefined;
  readonly #driverVersion: number;
  readonly #graphs: GraphCache;
  readonly #transfers: Transfers;
  readonly #owned: DisposableStack;

  constructor(
    driver: Driver,
    properties: DeviceProperties,
    imageName: string,
    image: Uint8Array<ArrayBuffer>,
    tileRows?: number,
  ) {
    this.#tileRows = tileRows;
    this.#driverVersion = driver.version;
    this.properties = properties;
    this.device = properties.name;
    this.imageName = imageName;
    using owned = new DisposableStack();
    const context = owned.use(new Context(driver, properties.ordinal));
    this.#context = context;
    owned.use(keepFreedMemory(context));
    this.#module = owned.use(new Module(context, image, manifest.images[imageName]!.kernels));
    this.#stream = owned.use(new Stream(context));
    this.#start = owned.use(new Event(context));
    this.#end = owned.use(new Event(context));
    this.#graphs = owned.use(new GraphCache());
    this.#transfers = owned.use(new Transfers(context, this.#stream));
    this.host = {
      context,
      stream: this.#stream,
      device: properties,
      kernels: manifest.images[imageName]!.kernels,
      allocate: (dtype, shape) => this.allocate(dtype, shape),
      own: (tensor) => this.#own(tensor),
      launch: (launch) => this.#module.launch(this.#stream, launch),
    };
    this.steps = new CudaOps(this.host);
    this.ops = resolvedOps(this.steps);
    this.#owned = owned.move();
  }

  /** The name of the kernel image; see {@linkcode Backend.engine}. */
  get engine(): string {
    return this.imageName;
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
    return new CudaTensor(this, dtype, shape, new DeviceBuffer(this.#stream, bytes, this.memory));
  }

  upload(tensor: Tensor): CudaTensor;
  upload(tensor: PackedTensor): PackedBackendTensor;
  upload(tensor: Tensor | PackedTensor): CudaTensor | PackedBackendTensor {
    if (isPacked<PackedTensor>(tensor)) return uploadParts(tensor, (part) => this.upload(part));
    checkTensor("tensor", tensor);
    using cleanup = new DisposableStack();
    const copy = cleanup.use(this.allocate(tensor.dtype, tensor.shape));
    this.#transfers.upload(copy, tensor.data as BufferSource);
    cleanup.move();
    return copy;
  }

  async fill(tensor: BackendTensor, produce: PieceHandler): Promise<void> {
    using target = this.#own(tensor).share();
    await this.#transfers.fill(target, produce);
  }

  async read(tensor: BackendTensor, consume: PieceHandler, range?: ElementRange): Promise<void> {
    using source = this.#own(tensor).share();
    await this.#transfers.read(source, consume, resolveRange(source, range));
  }

  async download(tensor: BackendTensor): Promise<Tensor> {
    const { dtype, shape } = this.#own(tensor);
    const copy = zeros(dtype, shape);
    await this.read(tensor, (piece, start) => copy.data.set(piece, start));
    return copy;
  }

  async experts(inputs: ExpertsInputs<BackendTensor>, options: ExpertsOptions = {}): Promise<CudaTensor> {
    return await this.runExperts({ inputs, shape: resolveExperts(inputs, options), onProgress: options.onProgress });
  }

  runExperts(call: ExpertsCall<BackendTensor>): Promise<CudaTensor> {
    return Promise.try(() =>
      this.#run(call, ({ key, launches }, pointers) => {
        const queue = () =>
          launches.forEach((launch) => this.#module.launch(this.#stream, resolveLaunch(launch, pointers)));
        // The plan and the pointers determine all arguments of the launches.
        this.#graphs.run(`${key} ${Object.values(pointers)}`, queue, () => this.#stream.capture(queue));
      })
    );
  }

  /** Runs the op once, kernel by kernel, and measures the device time of each in milliseconds. */
  profile(
    inputs: ExpertsInputs<BackendTensor>,
    options: ExpertsOptions = {},
  ): { launch: PlannedLaunch; milliseconds: number }[] {
    const times: { launch: PlannedLaunch; milliseconds: number }[] = [];
    const call = { inputs, shape: resolveExperts(inputs, options), onProgress: undefined };
    using _output = this.#run(call, ({ launches }, pointers) => {
      for (const launch of launches) {
        this.#start.record(this.#stream);
        this.#module.launch(this.#stream, resolveLaunch(launch, pointers));
        this.#end.record(this.#stream);
        this.#end.synchronize();
        times.push({ launch, milliseconds: this.#end.millisecondsSince(this.#start) });
      }
    });
    return times;
  }

  /** Allocates the memory of a call, calls `queue` to queue its launches, and frees all memory except for the output. */
  #run(
    { inputs, shape }: ExpertsCall<BackendTensor>,
    queue: (plan: KeyedPlan, pointers: PointerTable) => void,
  ): CudaTensor {
    using cleanup = new DisposableStack();
    const output = cleanup.use(this.allocate(shape.dtype, [shape.tokens, shape.hidden]));
    if (shape.tokens > 0) {
      const plan = this.#plan(shape);
      using workspace = new DisposableStack();
      const pointers: Record<string, bigint | null> = { output: output.buffer.pointer };
      for (const name of inputNames) {
        const tensor = inputs[name];
        pointers[name] = tensor && !isPacked(tensor) ? this.#own(tensor).buffer.pointer : null;
      }
      for (const [name, bytes] of Object.entries(plan.workspace)) {
        if (bytes > 0) pointers[name] = workspace.use(new DeviceBuffer(this.#stream, bytes, this.memory)).pointer;
      }
      queue(plan, pointers as PointerTable);
    }
    cleanup.move();
    return output;
  }

  /** Plans a call. The layers of a model mostly have the same sizes, so the last plan is kept: a new one takes 0.1 ms or more. */
  #plan(shape: ResolvedExperts): KeyedPlan {
    const key = JSON.stringify(shape);
    if (this.#lastPlan?.key !== key) {
      const { kernels } = manifest.images[this.imageName]!;
      this.#lastPlan = { key, ...planLaunches(shape, this.properties, kernels, this.#tileRows) };
    }
    return this.#lastPlan;
  }

  async moe(hidden: BackendTensor, layer: MoeLayer<BackendTensor>, options: MoeOptions = {}): Promise<BackendTensor> {
    return await shareAndRunMoe(this, (tensor) => this.#own(tensor).share(), hidden, layer, options);
  }

  synchronize(): Promise<void> {
    this.#stream.synchronize();
    return Promise.resolve();
  }

  async measure<Result>(run: () => Promise<Result>): Promise<Measurement<Result>> {
    const start = performance.now();
    this.#start.record(this.#stream);
    const result = await run();
    this.#end.record(this.#stream);
    this.#end.synchronize();
    return {
      result,
      milliseconds: this.#end.millisecondsSince(this.#start),
      wallMilliseconds: performance.now() - start,
    };
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
    const { uuid, multiprocessors, clockMhz, memoryClockMhz, memoryBytes } = this.properties;
    return {
      driver: `CUDA ${formatVersion(this.#driverVersion)}`,
      cubin: this.imageName,
      cubinSha256: manifest.images[this.imageName]!.sha256,
      deviceUuid: uuid,
      multiprocessors,
      clockMhz,
      memoryClockMhz,
      deviceMemoryBytes: memoryBytes,
    };
  }

  #own(tensor: BackendTensor): CudaTensor {
    if (!(tensor instanceof CudaTensor && tensor.owner === this)) {
      throw new TypeError("Cannot use a tensor of another backend");
    }
    tensor.buffer.pointer; // throws if it is disposed
    return tensor;
  }

  [Symbol.dispose](): void {
    this.#owned[Symbol.dispose]();
  }
}

/** A plan with the sizes that it was made for, as a string. */
type KeyedPlan = Plan & { readonly key: string };
