// The steps of a layer on the GPU, each a launch or a few.
import type { BackendTensor } from "../backend/backend.ts";
import { toBfloat16 } from "../tensor/bfloat16.ts";
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
import { checkGpuLimit, gpuLimits } from "../contract/limits.ts";
import type { BackendSteps } from "../backend/steps.ts";
import type { BackendRouting, BinCounts, Sorted } from "../contract/ops.ts";
import { bytesPerElement, type DType, elementCount, viewOf } from "../tensor/tensor.ts";
import type { KernelRecord } from "./images/manifest_types.ts";
import type { Argument } from "./driver/kernel.ts";
import { type DeviceOperand, dtypeCode, type OpLaunch } from "./plan/codes.ts";
import { planLinear, planRoute } from "./plan/router.ts";
import type { PlanDevice } from "./plan/product.ts";
import { planCombine, planProduct, planSort } from "./plan/steps.ts";

/** A tensor in device memory. */
export type DeviceTensor = BackendTensor & DeviceOperand;

/** What the ops need of the backend they belong to. */
export interface CudaOpsHost<T extends DeviceTensor> {
  readonly device: PlanDevice;
  readonly kernels: readonly KernelRecord[];
  allocate(dtype: DType, shape: readonly number[]): T;
  /** The tensor as the backend's own. */
  own(tensor: BackendTensor): T;
  launch(launch: OpLaunch): void;
}

const threads = 256;

/** Where an op gets memory: what it returns, and what it needs in between. */
interface Allocator<T> {
  result(dtype: DType, shape: readonly number[]): T;
  /** So many 32-bit integers. */
  scratch(count: number): DeviceOperand;
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
      const count = elementCount(shape);
      this.#overItems("fill", count, [output.pointer, count, bitsOf(dtype, value), bytesPerElement(dtype)]);
      return output;
    });
  }

  linear({ input, weight, bias, dtype, shape }: LinearCall<BackendTensor>): Promise<T> {
    return this.#run(({ result }) => {
      const [x, w] = this.#own(input, weight);
      const b = bias && this.#host.own(bias);
      const output = result(dtype, [shape.rows, shape.columns]);
      this.#launch(planLinear(shape, x!, w!, b, output, this.#host.kernels));
      return output;
    });
  }

  route({ logits, correctionBias, router, dtype, tokens }: RouteCall<BackendTensor>): Promise<BackendRouting> {
    return this.#run(({ result }) => {
      const [x] = this.#own(logits);
      const bias = correctionBias && this.#host.own(correctionBias);
      const shape = [tokens, router.topK];
      const targets = {
        routerIndices: result("i32", shape),
        routerWeights: result(dtype, shape),
        inputWeights: router.onInput ? result("f32", shape) : undefined,
      };
      this.#launch(planRoute(tokens, router, x!, bias, targets, this.#host.device.multiprocessors));
      return targets;
    });
  }

  sort({ values, bins, count }: BinsCall<BackendTensor>): Promise<Sorted<T>> {
    return this.#run(({ result, scratch }) => {
      const [from] = this.#own(values);
      const sorted = { values: result("i32", [count]), indices: result("i32", [count]) };
      if (count === 0) return sorted;
      const places = scratch(count);
      this.#sort(from!, count, bins, scratch, places, sorted.indices);
      this.#selectRows(from!, sorted.indices, sorted.values, { rows: count, sourceRows: count, bytes: 4 });
      return sorted;
    });
  }

  bincountCumsum({ values, bins, count }: BinsCall<BackendTensor>): Promise<BinCounts<T>> {
    return this.#run(({ result, scratch }) => {
      const [from] = this.#own(values);
      const counted = { counts: result("i32", [bins]), cumsum: result("i32", [bins]) };
      const { totals, offsets } = this.#sort(from!, count, bins, scratch);
      this.#overItems("copy_words", bins, [totals.pointer, counted.counts.pointer, bins]);
      this.#overItems("copy_words", bins, [offsets.pointer + 4n, counted.cumsum.pointer, bins]);
      return counted;
    });
  }

  indexSelect({ source, indices, rows, width }: SelectCall<BackendTensor>): Promise<T> {
    return this.#run(({ result }) => {
      const [from, at] = this.#own(source, indices);
      const output = result(source.dtype, [rows, ...source.shape.slice(1)]);
      const bytes = width * bytesPerElement(source.dtype);
      this.#selectRows(from!, at!, output, { rows, sourceRows: source.shape[0]!, bytes });
      return output;
    });
  }

  gather({ source, indices, cumsum, shape }: GatherCall<BackendTensor>): Promise<T> {
    return this.#run(({ result, scratch }) => {
      const { tokens, topK, bins, capacity, hidden } = shape;
      const rows = checkRows(bins * capacity);
      const [from, order, ends] = this.#own(source, indices, cumsum);
      const output = result(source.dtype, [bins, capacity, hidden]);
      const places = scratch(rows);
      this.#overItems("bin_tokens", rows, [order!.pointer, ends!.pointer, places.pointer, bins, capacity, topK]);
      const bytes = hidden * bytesPerElement(source.dtype);
      this.#selectRows(from!, places, output, { rows, sourceRows: tokens, bytes });
      return output;
    });
  }

  scatter({ source, indices, cumsum, weights, shape }: ScatterCall<BackendTensor>): Promise<T> {
    return this.#run(({ result, scratch }) => {
      const { tokens, topK, assignments, bins, capacity, hidden } = shape;
      checkRows(bins * capacity);
      const [from, order, ends, factors] = this.#own(source, indices, cumsum, weights);
      const output = result(source.dtype, [tokens, hidden]);
      const rows = scratch(assignments);
      this.#overItems("bin_rows", assignments, [
        order!.pointer,
        ends!.pointer,
        rows.pointer,
        assignments,
        bins,
        capacity,
      ]);
      this.#launch({
        ...planCombine(source.dtype, tokens),
        arguments: [
          ...[from!.pointer, rows.pointer, factors!.pointer, dtypeCode(factors!), 0n, 0n, 0n, output.pointer],
          ...[tokens, topK, topK, hidden],
        ],
      });
      return output;
    });
  }

  batchedMatmul({ a, b, shape }: MatmulCall<BackendTensor>): Promise<T> {
    return this.#run(({ result, scratch }) => {
      const { batch, rows, columns } = shape;
      checkRows(batch * rows);
      const [x, y] = this.#own(a, b);
      const output = result(a.dtype, [batch, rows, columns]);
      if (batch * rows === 0) return output;
      const plan = planProduct(shape, y!.pointer, a.dtype, this.#host.device, this.#host.kernels);
      const rowOffsets = scratch(batch + 1), tileOffsets = scratch(batch + 1);
      const tiles = Math.ceil(rows / plan.tile.rows);
      this.#launch({
        kernel: "even_offsets",
        ...{ blocks: 1, threads, sharedBytes: 0 },
        arguments: [rowOffsets.pointer, tileOffsets.pointer, batch, rows, tiles],
      });
      this.#launch({
        ...plan,
        arguments: [
          ...[x!.pointer, plan.weights, 0n, output.pointer, 0n, 0n, rowOffsets.pointer, tileOffsets.pointer],
          ...plan.arguments,
        ],
      });
      return output;
    });
  }

  /** Counts the values, and sorts them where there is room for where each goes and for where each comes from. */
  #sort(
    values: DeviceOperand,
    count: number,
    bins: number,
    scratch: Allocator<T>["scratch"],
    places?: DeviceOperand,
    order?: DeviceOperand,
  ): { totals: DeviceOperand; offsets: DeviceOperand } {
    const plan = planSort(count, bins);
    const [counts, totals, offsets, tiles] = [bins * plan.blocks, bins, bins + 1, bins + 1].map(scratch) as [
      DeviceOperand,
      DeviceOperand,
      DeviceOperand,
      DeviceOperand,
    ];
    this.#launch({ ...plan.histogram, arguments: [values.pointer, counts.pointer, count, plan.chunk, bins] });
    this.#launch({
      ...plan.scan,
      arguments: [
        ...[counts.pointer, totals.pointer, offsets.pointer, tiles.pointer],
        ...[bins, plan.blocks, gpuLimits.assignments, 1],
      ],
    });
    if (places && order) {
      this.#launch({
        ...plan.rank,
        arguments: [
          ...[values.pointer, counts.pointer, offsets.pointer, 0n, places.pointer, order.pointer, 0n],
          ...[count, plan.chunk, bins, 1, gpuLimits.assignments],
        ],
      });
    }
    return { totals, offsets };
  }

  /** Selects rows of so many bytes, in the largest units that make them up. */
  #selectRows(
    source: DeviceOperand,
    indices: DeviceOperand,
    output: DeviceOperand,
    { rows, sourceRows, bytes }: { rows: number; sourceRows: number; bytes: number },
  ): void {
    const unit = [16, 4, 2].find((unit) => bytes % unit === 0)!;
    const args = [source.pointer, indices.pointer, output.pointer, rows, sourceRows, bytes / unit];
    this.#overRows(`select_rows_${unit}`, rows, args);
  }

  /** Launches a kernel that works on an item a thread. */
  #overItems(kernel: string, items: number, args: readonly Argument[]): void {
    const blocks = Math.min(Math.ceil(items / threads), this.#host.device.multiprocessors * 8);
    this.#launch({ kernel, blocks, threads, sharedBytes: 0, arguments: args });
  }

  /** Launches a kernel that works on a row a warp. */
  #overRows(kernel: string, rows: number, args: readonly Argument[]): void {
    this.#overItems(kernel, rows * 32, args);
  }

  /** Where there is nothing to do there is nothing to launch. */
  #launch(launch: OpLaunch): void {
    if (launch.blocks > 0) this.#host.launch(launch);
  }

  #own(...tensors: BackendTensor[]): T[] {
    return tensors.map((tensor) => this.#host.own(tensor));
  }

  /** Runs an op, frees what it needed in between, and, if it fails, its results too. */
  #run<Result>(run: (allocator: Allocator<T>) => Result): Promise<Result> {
    return Promise.try(() => {
      using results = new DisposableStack();
      using between = new DisposableStack();
      const result = run({
        result: (dtype, shape) => results.use(this.#host.allocate(dtype, shape)),
        scratch: (count) => between.use(this.#host.allocate("i32", [count])),
      });
      results.move();
      return result;
    });
  }
}

/** The bits of a number as an element, as a signed integer. */
function bitsOf(dtype: DType, value: number): number {
  const memory = new SharedArrayBuffer(4);
  const element = viewOf(dtype, memory, 0, 1);
  if (dtype === "bf16") toBfloat16([value], element as Uint16Array);
  else element[0] = value;
  return new Int32Array(memory)[0]!;
}

function checkRows(rows: number): number {
  checkGpuLimit("The number of rows", rows, "assignments");
  return rows;
}
