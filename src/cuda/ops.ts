// The steps of a layer on the GPU. Each is one launch or a few.
import type { BackendTensor, KernelTime } from "../backend/backend.ts";
import type { BackendSteps } from "../backend/steps.ts";
import { checkMaximum, maximumItems } from "../contract/limits.ts";
import type { BackendRouting, BinCounts, Sorted } from "../contract/ops.ts";
import type {
  BinsCall,
  FullCall,
  GatherCall,
  LinearCall,
  MatmulCall,
  RouteCall,
  ScatterCall,
  SelectCall,
} from "../contract/resolve_ops.ts";
import { toBfloat16 } from "../tensor/bfloat16.ts";
import { bytesPerElement, type DType, elementCount, viewOf } from "../tensor/tensor.ts";
import type { Context } from "./driver/context.ts";
import type { KernelLaunch } from "./driver/kernel.ts";
import type { Stream } from "./driver/stream.ts";
import type { KernelRecord } from "./images/manifest_types.ts";
import type { PlanDevice } from "./plan/product.ts";
import { type DeviceOperand, planLinear, planRoute } from "./plan/router.ts";
import { planCombine, planItems, planProduct, planSort, sortCounts, type SortTensors } from "./plan/steps.ts";
import type { QueuedKernel } from "./recording.ts";

/** A tensor in device memory. */
export type DeviceTensor = BackendTensor & DeviceOperand;

/** The work of a kernel; see `KernelTime`. */
export type KernelWork = Pick<KernelTime, "flops" | "bytes">;

/** The services of the backend that the ops use. */
export interface CudaOpsHost<T extends DeviceTensor> {
  readonly device: PlanDevice;
  readonly kernels: readonly KernelRecord[];
  /** Zeros that kernels use to count, and leave as zeros. Only one kernel at a time may use them. */
  readonly counters: bigint;
  allocate(dtype: DType, shape: readonly number[]): T;
  /** Checks that a tensor belongs to the backend. */
  own(tensor: BackendTensor): T;
  /** Queues a kernel, with its work if that is known. */
  launch(launch: KernelLaunch, work?: KernelWork): void;
}

/** The services that exchanges with other GPUs use as well. */
export interface CudaHost<T extends DeviceTensor> extends CudaOpsHost<T> {
  readonly context: Context;
  readonly stream: Stream;
  /** Queues work on the stream. In a captured function, it is also recorded, and repeated by each replay. */
  queue(kernel: QueuedKernel, work: () => void): void;
  /** Prepares an action that waits for the stream. */
  beforeWait(action: string): void;
  /** Whether the caller belongs to a captured function. */
  isCapturing(): boolean;
}

/** Allocates the memory of one op. */
interface Allocator<T> {
  /** Allocates a result. */
  result(dtype: DType, shape: readonly number[]): T;
  /** Allocates 32-bit integers that are freed at the end of the op. */
  scratch(count: number): bigint;
}

/** The ops on a GPU's tensors. */
export class CudaOps<T extends DeviceTensor> implements BackendSteps<T> {
  readonly #host: CudaOpsHost<T>;

  constructor(host: CudaOpsHost<T>) {
    this.#host = host;
  }

  full({ dtype, shape, value }: FullCall): Promise<T> {
    return this.#run(({ result }) => {
      const output = result(dtype, shape);
      const count = elementCount(shape), bits = bitsOf(dtype, value);
      if (bytesPerElement(dtype) > 1) this.#fill(output.pointer, count, bits, bytesPerElement(dtype));
      else {
        expectPairs("The number of bytes of a tensor", count);
        this.#fill(output.pointer, count / 2, bits * 0x0101, 2);
      }
      return output;
    });
  }

  linear({ input, weight, bias, dtype, shape }: LinearCall<BackendTensor>): Promise<T> {
    return this.#run(({ result }) => {
      const { own, kernels, device } = this.#host;
      const [x, w, b] = [own(input), own(weight), bias && own(bias)];
      const output = result(dtype, [shape.rows, shape.columns]);
      const { rows, columns, depth } = shape;
      const bytes = tensorBytes(x) + tensorBytes(w) + (b ? tensorBytes(b) : 0) + tensorBytes(output);
      const launch = planLinear(shape, x, w, b, output, kernels, device.multiprocessors);
      this.#launch(launch, { flops: 2 * rows * columns * depth, bytes });
      return output;
    });
  }

  route({ logits, correctionBias, router, dtype, tokens }: RouteCall<BackendTensor>): Promise<BackendRouting> {
    return this.#run(({ result }) => {
      const { own, device } = this.#host;
      const [x, bias] = [own(logits), correctionBias && own(correctionBias)];
      const shape = [tokens, router.topK];
      const targets = {
        routerIndices: result("i32", shape),
        routerWeights: result(dtype, shape),
        inputWeights: router.onInput ? result("f32", shape) : undefined,
      };
      const { routerIndices, routerWeights, inputWeights } = targets;
      const tensors = [x, routerIndices, routerWeights, ...inputWeights ? [inputWeights] : []];
      const bytes = tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
      this.#launch(planRoute(tokens, router, x, bias, targets, device.multiprocessors), { flops: 0, bytes });
      return targets;
    });
  }

  sort({ values, bins, count }: BinsCall<BackendTensor>): Promise<Sorted<T>> {
    return this.#run(({ result, scratch }) => {
      const source = this.#host.own(values);
      const sorted = { values: result("i32", [count]), indices: result("i32", [count]) };
      if (count === 0) return sorted;
      const rowTokens = sorted.indices.pointer;
      this.#fill(rowTokens, count, -1, 4); // values outside of the bins leave the end of the list unused
      this.#sort(source.pointer, count, bins, scratch, { rows: scratch(count), rowTokens });
      this.selectRows(source.pointer, rowTokens, sorted.values.pointer, { rows: count, sourceRows: count, bytes: 4 });
      return sorted;
    });
  }

  bincountCumsum({ values, bins, count }: BinsCall<BackendTensor>): Promise<BinCounts<T>> {
    return this.#run(({ result, scratch }) => {
      const source = this.#host.own(values);
      const counted = { counts: result("i32", [bins]), cumsum: result("i32", [bins]) };
      const { totals, rowOffsets } = this.#sort(source.pointer, count, bins, scratch);
      this.#overItems("copy_words", bins, { source: totals, out: counted.counts.pointer, n: bins });
      this.#overItems("copy_words", bins, { source: rowOffsets + 4n, out: counted.cumsum.pointer, n: bins });
      return counted;
    });
  }

  indexSelect({ source, indices, rows, width }: SelectCall<BackendTensor>): Promise<T> {
    return this.#run(({ result }) => {
      const [from, at] = [this.#host.own(source), this.#host.own(indices)];
      const output = result(source.dtype, [rows, ...source.shape.slice(1)]);
      const bytes = width * bytesPerElement(source.dtype);
      this.selectRows(from.pointer, at.pointer, output.pointer, { rows, sourceRows: source.shape[0] ?? 0, bytes });
      return output;
    });
  }

  gather({ source, indices, cumsum, shape }: GatherCall<BackendTensor>): Promise<T> {
    return this.#run(({ result, scratch }) => {
      const { tokens, topK, assignments: n, bins, capacity, hidden } = shape;
      const rows = bins * capacity;
      checkMaximum("The number of assignments", n);
      checkMaximum("The number of rows", rows);
      const [from, order, ends] = [source, indices, cumsum].map((tensor) => this.#host.own(tensor).pointer);
      const output = result(source.dtype, [bins, capacity, hidden]);
      const binTokens = scratch(rows);
      this.#overItems("bin_tokens", rows, {
        ...{ order: order!, ends: ends!, tokens: binTokens },
        ...{ n, bins, capacity, topK },
      });
      const bytes = hidden * bytesPerElement(source.dtype);
      this.selectRows(from!, binTokens, output.pointer, { rows, sourceRows: tokens, bytes });
      return output;
    });
  }

  scatter({ source, indices, cumsum, weights, shape }: ScatterCall<BackendTensor>): Promise<T> {
    return this.#run(({ result, scratch }) => {
      const { tokens, topK, assignments: n, bins, capacity, hidden: width } = shape;
      checkMaximum("The number of assignments", n);
      checkMaximum("The number of rows", bins * capacity);
      const { own, device } = this.#host;
      const output = result(source.dtype, [tokens, width]);
      const rows = scratch(n);
      this.#fill(rows, n, -1, 4);
      this.#overItems("bin_rows", bins > 0 ? n : 0, {
        ...{ order: own(indices).pointer, ends: own(cumsum).pointer, rows },
        ...{ n, bins, capacity },
      });
      this.#launch(planCombine(source.dtype, weights.dtype, { tokens, topK, weightColumns: topK, width }, {
        ...{ expertOutputs: own(source).pointer, rows, weights: own(weights).pointer, indices: null },
        ...{ addend: null, addendWeights: null, out: output.pointer },
      }, device.multiprocessors));
      return output;
    });
  }

  batchedMatmul({ a, b, shape }: MatmulCall<BackendTensor>): Promise<T> {
    return this.#run(({ result, scratch }) => {
      const { batch, rows, columns, depth } = shape;
      checkMaximum("The number of rows", batch * rows);
      const { own, device, kernels, counters } = this.#host;
      const [input, weights] = [own(a).pointer, own(b).pointer];
      const output = result(a.dtype, [batch, rows, columns]);
      const count = batch * rows * columns;
      if (count === 0) return output;
      if (depth === 0) {
        this.#fill(output.pointer, count, 0, bytesPerElement(a.dtype));
        return output;
      }
      const tensors = { input, weights, out: output.pointer, counters };
      const offsets = { rowOffsets: scratch(batch + 1), tileOffsets: scratch(batch + 1) };
      planProduct(shape, a.dtype, device, kernels, { ...tensors, ...offsets }).forEach((launch) =>
        this.#launch(launch)
      );
      return output;
    });
  }

  /** Sorts values by bin, or only counts them if `targets` is missing. */
  #sort(
    indices: bigint,
    count: number,
    bins: number,
    scratch: Allocator<T>["scratch"],
    targets: Pick<SortTensors<bigint>, "rows" | "rowTokens"> = { rows: null, rowTokens: null },
  ): SortTensors<bigint> {
    const shape = { count, experts: bins, topK: 1, capacity: maximumItems, tileRows: 1 };
    const counts = sortCounts(shape);
    const tensors: SortTensors<bigint> = {
      ...{ indices, inputWeights: null, rowScales: null, ...targets },
      counts: counts > 0 ? scratch(counts) : null,
      totals: scratch(bins),
      rowOffsets: scratch(bins + 1),
      tileOffsets: scratch(bins + 1),
    };
    planSort(shape, tensors).forEach((launch) => this.#launch(launch));
    return tensors;
  }

  /** Selects rows of `bytes` bytes, in the largest units that divide them. */
  selectRows(
    source: bigint,
    indices: bigint,
    out: bigint,
    { rows, sourceRows, bytes }: { rows: number; sourceRows: number; bytes: number },
  ): void {
    if (rows === 0) return;
    expectPairs("The number of bytes of a row", bytes);
    const unit = [16, 4, 2].find((unit) => bytes % unit === 0)!;
    checkMaximum("The number of rows", rows);
    checkMaximum("The number of rows of the source", sourceRows);
    checkMaximum("The length of a row", bytes / unit);
    const args = { source, indices, out, rows, sourceRows, units: bytes / unit };
    this.#overItems(`select_rows_${unit}`, rows * 32, args); // a warp per row
  }

  #fill(out: bigint, count: number, bits: number, bytes: number): void {
    this.#overItems("fill", count, { out, count, bits, bytes });
  }

  #overItems(kernel: string, items: number, args: KernelLaunch["arguments"]): void {
    this.#launch(planItems(kernel, items, this.#host.device.multiprocessors, args));
  }

  /** Launches a kernel, unless its grid is empty. */
  #launch(launch: KernelLaunch, work?: KernelWork): void {
    if (launch.blocks > 0) this.#host.launch(launch, work);
  }

  /** Runs an op and frees its temporary memory. If it fails, its results are freed too. */
  #run<Result>(run: (allocator: Allocator<T>) => Result): Promise<Result> {
    return Promise.try(() => {
      using results = new DisposableStack();
      using temporary = new DisposableStack();
      const result = run({
        result: (dtype, shape) => results.use(this.#host.allocate(dtype, shape)),
        scratch: (count) => temporary.use(this.#host.allocate("i32", [count])).pointer,
      });
      results.move();
      return result;
    });
  }
}

/** Checks a number of bytes that a kernel writes two at a time, which only matters for u8. */
function expectPairs(what: string, bytes: number): void {
  if (bytes % 2 !== 0) throw new RangeError(`${what} must be even on the GPU, got ${bytes}`);
}

function tensorBytes({ dtype, shape }: BackendTensor): number {
  return elementCount(shape) * bytesPerElement(dtype);
}

/** The bits of a number as an element, as a signed integer. */
function bitsOf(dtype: DType, value: number): number {
  const memory = new SharedArrayBuffer(4);
  const element = viewOf(dtype, memory, 0, 1);
  if (dtype === "bf16") toBfloat16([value], element as Uint16Array);
  else element[0] = value;
  return new Int32Array(memory)[0]!;
}
