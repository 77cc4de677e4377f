// The GPU backend: tensors in device memory, computed by our kernels.
import type {
  Backend,
  BackendDetails,
  BackendTensor,
  ElementRange,
  Measurement,
  PeakRates,
} from "../backend/backend.ts";
import { BackendUnavailableError } from "../backend/unavailable_error.ts";
import type { ExpertsInputs, ExpertsOptions } from "../contract/experts.ts";
import { inputNames } from "../contract/experts_inputs.ts";
import { type ExpertsCall, type ResolvedExperts, resolveExperts } from "../contract/resolve_experts.ts";
import { MemoryCounter } from "../backend/memory_counter.ts";
import type { MoeLayer, MoeOptions } from "../contract/moe.ts";
import { resolveMoe } from "../contract/resolve_moe.ts";
import type { BackendOps } from "../contract/ops.ts";
import { checkGpuLimit } from "../contract/limits.ts";
import { resolvedOps } from "../backend/steps.ts";
import { runMoe } from "../backend/run_moe.ts";
import {
  bytesPerElement,
  checkShape,
  checkTensor,
  type DType,
  elementCount,
  formatShape,
  type Tensor,
  type TensorData,
  viewOf,
  zeros,
} from "../tensor/tensor.ts";
import { Context } from "./driver/context.ts";
import { chooseImage, loadImage } from "./images/load.ts";
import { manifest } from "./images/built/manifest.ts";
import { type DeviceProperties, deviceProperties } from "./driver/device.ts";
import { Driver, formatVersion } from "./driver/driver.ts";
import { Event } from "./driver/event.ts";
import { GraphCache } from "./driver/graph_cache.ts";
import { DeviceBuffer, keepFreedMemory, StagingBuffer } from "./driver/memory.ts";
import type { Argument } from "./driver/kernel.ts";
import { Module } from "./driver/module.ts";
import { CudaOps } from "./ops.ts";
import { devicePeak } from "./plan/peak.ts";
import { type Launch, type Plan, planLaunches, type TensorName } from "./plan/experts.ts";
import { Stream } from "./driver/stream.ts";
import { isVerified } from "./images/verified.ts";

/** A tensor in device memory. */
class CudaTensor implements BackendTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly owner: CudaBackend;
  readonly buffer: DeviceBuffer;

  constructor(owner: CudaBackend, dtype: DType, shape: readonly number[], buffer: DeviceBuffer) {
    this.owner = owner;
    this.dtype = dtype;
    this.shape = shape;
    this.buffer = buffer;
  }

  /** The CUdeviceptr. */
  get pointer(): bigint {
    return this.buffer.pointer;
  }

  [Symbol.dispose](): void {
    this.buffer[Symbol.dispose]();
  }
}

/** Options of {@linkcode openCudaBackend}. */
export interface CudaOptions {
  /** Which GPU, counted from 0. */
  readonly device?: number | undefined;
  /** The driver's library, where it is not to be searched for. */
  readonly library?: string | undefined;
  /** Whether to refuse kernels that have not passed `yamoe verify` on hardware of their architecture. */
  readonly onlyVerified?: boolean | undefined;
  /** Rows of the tiles to compute with, in the place of those that seem best for each call. */
  readonly tileRows?: number | undefined;
}

/** Opens the GPU. */
export async function openCudaBackend(
  { device = 0, library, onlyVerified = false, tileRows }: CudaOptions = {},
): Promise<CudaBackend> {
  const driver = new Driver(library);
  if (!Number.isInteger(device) || device < 0 || device >= driver.deviceCount) {
    throw new RangeError(`device must be an integer from 0 to ${driver.deviceCount - 1}, got ${device}`);
  }
  const properties = deviceProperties(driver, device);
  const imageName = chooseImage(properties.computeCapability);
  if (onlyVerified && !isVerified(imageName)) {
    throw new BackendUnavailableError(
      `There is a ${properties.name}, but the kernels for it (${imageName}) have not been verified on such a GPU; ` +
        `choose the cuda backend to use them all the same`,
    );
  }
  return new CudaBackend(driver, properties, imageName, await loadImage(imageName), tileRows);
}

/** The op on a GPU. */
export class CudaBackend implements Backend {
  readonly name = "cuda";
  readonly threads = 0;
  readonly device: string;
  readonly properties: DeviceProperties;
  readonly memory = new MemoryCounter();
  /** The image that the kernels come from; see the manifest. */
  readonly imageName: string;
  readonly steps: CudaOps<CudaTensor>;
  readonly ops: BackendOps;
  readonly #module: Module;
  readonly #stream: Stream;
  readonly #start: Event;
  readonly #end: Event;
  readonly #context: Context;
  readonly #staging: { readonly buffer: StagingBuffer; readonly free: Event }[] = [];
  readonly #tileRows: number | undefined;
  #lastTransfer: Promise<void> = Promise.resolve();
  #uploadMilliseconds = 0;
  #flushed: DeviceBuffer | undefined;
  #lastPlan: { readonly key: string; readonly plan: Plan } | undefined;
  readonly #driverVersion: number;
  readonly #graphs: GraphCache;
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
    this.steps = new CudaOps({
      device: properties,
      kernels: manifest.images[imageName]!.kernels,
      allocate: (dtype, shape) => this.allocate(dtype, shape),
      own: (tensor) => this.#own(tensor),
      launch: (launch) => this.#module.kernel(launch.kernel)!.launch(this.#stream, launch, launch.arguments),
    });
    this.ops = resolvedOps(this.steps);
    this.#owned = owned.move();
  }

  /** The image's name: see {@linkcode Backend.engine}. */
  get engine(): string {
    return this.imageName;
  }

  /** Bytes of device memory that nothing uses, and all there are, by the driver's count. */
  driverMemory(): { freeBytes: number; totalBytes: number } {
    const free = new BigUint64Array(1), total = new BigUint64Array(1);
    this.#context.call("cuMemGetInfo_v2", free, total);
    return { freeBytes: Number(free[0]), totalBytes: Number(total[0]) };
  }

  get uploadMilliseconds(): number {
    return this.#uploadMilliseconds;
  }

  resetPeakMemory(): void {
    this.memory.reset();
  }

  allocate(dtype: DType, shape: readonly number[]): CudaTensor {
    checkShape("shape", shape);
    const bytes = elementCount(shape) * bytesPerElement(dtype);
    if (!Number.isSafeInteger(bytes) || bytes > this.properties.memoryBytes) {
      throw new RangeError(
        `Cannot allocate ${formatShape(shape)} of ${dtype}: the GPU has ${this.properties.memoryBytes} bytes`,
      );
    }
    return new CudaTensor(this, dtype, shape, new DeviceBuffer(this.#stream, bytes, this.memory));
  }

  upload(tensor: Tensor): CudaTensor {
    checkTensor("tensor", tensor);
    using cleanup = new DisposableStack();
    const copy = cleanup.use(this.allocate(tensor.dtype, tensor.shape));
    this.#upload(() => {
      copy.buffer.write(tensor.data as BufferSource);
      this.#stream.synchronize(); // until then the driver reads the caller's memory
    });
    cleanup.move();
    return copy;
  }

  fill(tensor: BackendTensor, produce: PieceHandler): Promise<void> {
    const { buffer, dtype } = this.#own(tensor);
    return this.#inTurn(async () => {
      // While one piece is on its way to the device, the next is made.
      for (const [i, { start, length }] of pieces(tensor).entries()) {
        const { buffer: staging, free } = this.#stagingBuffer(i % 2);
        this.#upload(() => free.synchronize());
        const piece = viewOf(dtype, staging.memory, 0, length);
        await produce(piece, start);
        this.#upload(() => buffer.write(piece as BufferSource, start * bytesPerElement(dtype)));
        free.record(this.#stream);
      }
    });
  }

  read(tensor: BackendTensor, consume: PieceHandler, range?: ElementRange): Promise<void> {
    const { buffer, dtype } = this.#own(tensor);
    return this.#inTurn(async () => {
      const queue = pieces(tensor, range).map(({ start, length }, i) => () => {
        const { buffer: staging, free } = this.#stagingBuffer(i % 2);
        const piece = viewOf(dtype, staging.memory, 0, length);
        buffer.read(piece as BufferSource, start * bytesPerElement(dtype));
        free.record(this.#stream);
        return { piece, start, free };
      });
      // While one piece is looked at, the next is on its way.
      let next = queue.shift()?.();
      while (next) {
        const { piece, start, free } = next;
        free.synchronize();
        next = queue.shift()?.();
        await consume(piece, start);
      }
    });
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
      this.#run(call, (plan, pointers) => {
        const launch = () => plan.launches.forEach((step) => this.#launch(step, pointers));
        const key = plan.launches.map((step) => [step.kernel, step.blocks, ...resolve(step, pointers)].map(keyPart))
          .join(
            ";",
          );
        this.#graphs.run(key, launch, () => this.#stream.capture(launch));
      })
    );
  }

  /** Runs the op once, kernel by kernel, and tells the device's time of each in milliseconds. */
  profile(
    inputs: ExpertsInputs<BackendTensor>,
    options: ExpertsOptions = {},
  ): { launch: Launch; milliseconds: number }[] {
    const times: { launch: Launch; milliseconds: number }[] = [];
    const call = { inputs, shape: resolveExperts(inputs, options), onProgress: undefined };
    using _output = this.#run(call, ({ launches }, pointers) => {
      for (const launch of launches) {
        this.#start.record(this.#stream);
        this.#launch(launch, pointers);
        this.#end.record(this.#stream);
        this.#end.synchronize();
        times.push({ launch, milliseconds: this.#end.millisecondsSince(this.#start) });
      }
    });
    return times;
  }

  /** Allocates what a call needs, lets `queue` queue its launches, and frees what is not the output. */
  #run(
    { inputs, shape }: ExpertsCall<BackendTensor>,
    queue: (plan: Plan, pointers: PointerTable) => void,
  ): CudaTensor {
    checkGpuLimit("The number of experts", shape.experts, "experts");
    checkGpuLimit("The number of assignments", shape.tokens * shape.topK, "assignments");
    using cleanup = new DisposableStack();
    const output = cleanup.use(this.allocate(shape.dtype, [shape.tokens, shape.hidden]));
    if (shape.tokens > 0) {
      const plan = this.#plan(shape);
      using workspace = new DisposableStack();
      const pointers: Record<string, bigint> = { output: output.buffer.pointer };
      for (const name of inputNames) {
        const tensor = inputs[name];
        pointers[name] = tensor ? this.#own(tensor).buffer.pointer : 0n;
      }
      for (const [name, bytes] of Object.entries(plan.workspace)) {
        if (bytes > 0) pointers[name] = workspace.use(new DeviceBuffer(this.#stream, bytes, this.memory)).pointer;
      }
      queue(plan, pointers as PointerTable);
    }
    cleanup.move();
    return output;
  }

  /** Plans a call. A model's layers are alike, so the last plan is the next, most often: making one takes 0.1 ms and more. */
  #plan(shape: ResolvedExperts): Plan {
    const key = JSON.stringify(shape);
    if (this.#lastPlan?.key !== key) {
      const { kernels } = manifest.images[this.imageName]!;
      this.#lastPlan = { key, plan: planLaunches(shape, this.properties, kernels, this.#tileRows) };
    }
    return this.#lastPlan.plan;
  }

  #launch(launch: Launch, pointers: PointerTable): void {
    this.#module.kernel(launch.kernel)!.launch(this.#stream, launch, resolve(launch, pointers));
  }

  async moe(hidden: BackendTensor, layer: MoeLayer<BackendTensor>, options: MoeOptions = {}): Promise<BackendTensor> {
    const shape = resolveMoe(hidden, layer, options);
    return await runMoe(this, { hidden, layer, shape, onProgress: options.onProgress });
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
      new DeviceBuffer(this.#stream, 2 * this.properties.l2Bytes, new MemoryCounter()), // no tensor: not counted
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

  /** Transfers share the staging memory, so one waits for the other. */
  #inTurn(transfer: () => Promise<void>): Promise<void> {
    const turn = this.#lastTransfer.then(transfer);
    this.#lastTransfer = turn.catch(() => {}); // whoever asked for it hears of the failure
    return turn;
  }

  #upload(copy: () => void): void {
    const start = performance.now();
    copy();
    this.#uploadMilliseconds += performance.now() - start;
  }

  #stagingBuffer(index: number): { buffer: StagingBuffer; free: Event } {
    return this.#staging[index] ??= {
      buffer: this.#owned.use(new StagingBuffer(this.#context, stagingBytes)),
      free: this.#owned.use(new Event(this.#context)),
    };
  }

  [Symbol.dispose](): void {
    this.#owned[Symbol.dispose]();
  }
}

type PieceHandler = (piece: TensorData, start: number) => void | Promise<void>;
type PointerTable = Readonly<Record<TensorName, bigint>>;

/** Host memory that copies pass through, twice. */
const stagingBytes = 32 * 2 ** 20;

/** Pieces begin at multiples of this many elements. */
const pieceUnit = 65536;

/** Cuts a tensor into pieces that fit the staging memory; a last one of fewer than 16 elements is kept from arising. */
function pieces(
  { dtype, shape }: BackendTensor,
  range: ElementRange = { start: 0, end: elementCount(shape) },
): { start: number; length: number }[] {
  const most = stagingBytes / bytesPerElement(dtype);
  const result = [];
  for (let start = range.start; start < range.end;) {
    const left = range.end - start;
    const length = left <= most ? left : left < most + 16 ? most - pieceUnit : most;
    result.push({ start, length });
    start += length;
  }
  return result;
}

function resolve(launch: Launch, pointers: PointerTable): Argument[] {
  const resolved = <T>(pointer: T | TensorName) =>
    typeof pointer === "string" ? pointers[pointer as TensorName] : pointer;
  return launch.arguments.map((argument) =>
    typeof argument === "object" && "box" in argument
      ? { ...argument, pointer: resolved(argument.pointer) }
      : resolved(argument)
  );
}

function keyPart(part: Argument | string): string {
  return typeof part === "object" ? Object.values(part).join() : `${part}`;
}
