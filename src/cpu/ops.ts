// The steps of a layer on the CPU: products run on all threads, every other step is a loop on one thread.
import type { BackendTensor } from "../backend/backend.ts";
import { fromBfloat16, toBfloat16 } from "../tensor/bfloat16.ts";
import type { BackendSteps } from "../backend/steps.ts";
import type { BackendRouting, BinCounts, Sorted } from "../contract/ops.ts";
import type {
  BinsCall,
  BinShape,
  FullCall,
  GatherCall,
  LinearCall,
  MatmulCall,
  ProductShape,
  RouteCall,
  ScatterCall,
  SelectCall,
} from "../contract/resolve_ops.ts";
import { routeTokens } from "../routing/route_tokens.ts";
import { type DType, type Tensor, type TensorData, zeros } from "../tensor/tensor.ts";
import type { WorkerPool } from "../wasm/worker_pool.ts";
import { productsJob, type ProductTensors } from "./product.ts";
import type { CpuTensor } from "./tensor.ts";

/** The parts of the backend that the ops use. */
export interface CpuOpsHost {
  allocate(dtype: DType, shape: readonly number[]): CpuTensor;
  /** Another tensor with the memory of one of the backend's tensors. */
  share(tensor: BackendTensor): CpuTensor;
  readonly pool: WorkerPool;
}

/** A running op. */
interface Call {
  /** Allocates a result. It is disposed if the op fails. */
  allocate(dtype: DType, shape: readonly number[]): CpuTensor;
  /** Shares the memory of an input until the op ends. */
  own(tensor: BackendTensor): CpuTensor;
}

/** The ops on CPU tensors. */
export class CpuOps implements BackendSteps<CpuTensor> {
  readonly #host: CpuOpsHost;

  constructor(host: CpuOpsHost) {
    this.#host = host;
  }

  full({ dtype, shape, value }: FullCall): Promise<CpuTensor> {
    return this.#run(({ allocate }) => {
      const output = allocate(dtype, shape);
      const bits = new Uint16Array(1);
      if (dtype === "bf16") toBfloat16([value], bits);
      output.data.fill(dtype === "bf16" ? bits[0]! : value);
      return output;
    });
  }

  linear({ input, weight, bias, dtype, shape }: LinearCall<BackendTensor>): Promise<CpuTensor> {
    return this.#run(async ({ allocate, own }) => {
      const output = allocate(dtype, [shape.rows, shape.columns]);
      await this.#multiply(shape, {
        a: own(input),
        b: own(weight),
        isTransposed: true,
        bias: bias && own(bias),
        output,
      });
      return output;
    });
  }

  route({ logits, correctionBias, router, dtype }: RouteCall<BackendTensor>): Promise<BackendRouting> {
    return this.#run(({ allocate, own }) => {
      const routing = routeTokens(own(logits), router, correctionBias && own(correctionBias));
      const copy = (dtype: DType, { data, shape }: Tensor) => {
        const target = allocate(dtype, shape);
        store(target, 0, data);
        return target;
      };
      const routerIndices = copy("i32", routing.routerIndices);
      const routerWeights = copy(dtype, routing.routerWeights);
      const inputWeights = routing.inputWeights && copy("f32", routing.inputWeights);
      return { routerIndices, routerWeights, inputWeights };
    });
  }

  sort({ values, bins, count }: BinsCall<BackendTensor>): Promise<Sorted<CpuTensor>> {
    return this.#run(({ allocate, own }) => {
      const data = own(values).data;
      const next = counts(data, bins);
      for (let b = 0, sum = 0; b < bins; b++) next[b] = (sum += next[b]!) - next[b]!;
      const sorted = allocate("i32", [count]), indices = allocate("i32", [count]);
      for (let i = 0; i < count; i++) {
        const place = next[data[i]!]!++;
        sorted.data[place] = data[i]!;
        indices.data[place] = i;
      }
      return { values: sorted, indices };
    });
  }

  bincountCumsum({ values, bins }: BinsCall<BackendTensor>): Promise<BinCounts<CpuTensor>> {
    return this.#run(({ allocate, own }) => {
      const found = counts(own(values).data, bins);
      const result = { counts: allocate("i32", [bins]), cumsum: allocate("i32", [bins]) };
      result.counts.data.set(found);
      for (let b = 0, sum = 0; b < bins; b++) result.cumsum.data[b] = sum += found[b]!;
      return result;
    });
  }

  indexSelect({ source, indices, rows, width }: SelectCall<BackendTensor>): Promise<CpuTensor> {
    return this.#run(({ allocate, own }) => {
      const from = own(source), { data: at } = own(indices);
      const output = allocate(source.dtype, [rows, ...source.shape.slice(1)]);
      for (let r = 0; r < rows; r++) copyRow(from, at[r]!, output, r, width);
      return output;
    });
  }

  gather({ source, indices, cumsum, shape }: GatherCall<BackendTensor>): Promise<CpuTensor> {
    return this.#run(({ allocate, own }) => {
      const from = own(source), order = own(indices).data, ends = own(cumsum).data;
      const output = allocate(source.dtype, [shape.bins, shape.capacity, shape.hidden]);
      for (const { assignment, row } of binRows(shape, order, ends)) {
        copyRow(from, Math.floor(assignment / shape.topK), output, row, shape.hidden);
      }
      return output;
    });
  }

  scatter({ source, indices, cumsum, weights, shape }: ScatterCall<BackendTensor>): Promise<CpuTensor> {
    return this.#run(({ allocate, own }) => {
      const { tokens, topK, assignments, hidden } = shape;
      const from = own(source), order = own(indices).data, ends = own(cumsum).data;
      const rows = new Int32Array(assignments).fill(-1);
      for (const { assignment, row } of binRows(shape, order, ends)) rows[assignment] = row;
      const output = allocate(source.dtype, [tokens, hidden]);
      const w = numbers(own(weights), 0, assignments);
      const sum = new Float32Array(hidden);
      for (let t = 0; t < tokens; t++) {
        sum.fill(0);
        for (let i = t * topK; i < (t + 1) * topK; i++) {
          if (rows[i]! >= 0) add(sum, numbers(from, rows[i]! * hidden, hidden), w[i]!);
        }
        store(output, t * hidden, sum);
      }
      return output;
    });
  }

  batchedMatmul({ a, b, shape }: MatmulCall<BackendTensor>): Promise<CpuTensor> {
    return this.#run(async ({ allocate, own }) => {
      const output = allocate(a.dtype, [shape.batch, shape.rows, shape.columns]);
      await this.#multiply(shape, { a: own(a), b: own(b), isTransposed: false, output });
      return output;
    });
  }

  #multiply(shape: ProductShape, tensors: ProductTensors): Promise<void> {
    const { pool } = this.#host;
    return pool.run("products", productsJob(shape, tensors, pool.threads));
  }

  /** Runs an op. The results are disposed if it fails. */
  async #run<Result>(run: (call: Call) => Result | Promise<Result>): Promise<Result> {
    using inputs = new DisposableStack();
    using results = new DisposableStack();
    const result = await run({
      allocate: (dtype, shape) => results.use(this.#host.allocate(dtype, shape)),
      own: (tensor) => inputs.use(this.#host.share(tensor)),
    });
    results.move();
    return result;
  }
}

/** Lists the assignments that have a row in the bins. `order` and `ends` may contain anything. */
function* binRows(
  { bins, capacity, assignments }: BinShape,
  order: TensorData,
  ends: TensorData,
): Iterable<{ assignment: number; row: number }> {
  const end = (bin: number) => bin < 0 ? 0 : Math.max(0, Math.min(ends[bin] ?? 0, assignments));
  for (let bin = 0; bin < bins; bin++) {
    const start = end(bin - 1), count = Math.min(capacity, end(bin) - start);
    for (let c = 0; c < count; c++) {
      const assignment = order[start + c] ?? -1;
      if (assignment >= 0 && assignment < assignments) yield { assignment, row: bin * capacity + c };
    }
  }
}

function add(sum: Float32Array, row: ArrayLike<number>, weight: number): void {
  for (let i = 0; i < sum.length; i++) sum[i]! += row[i]! * weight;
}

function counts(values: TensorData, bins: number): Int32Array {
  const counts = zeros("i32", [bins]).data as Int32Array;
  for (let i = 0; i < values.length; i++) counts[values[i]!]! += 1;
  return counts;
}

/** Copies a row. A row that does not exist leaves the zeros of the target unchanged. */
function copyRow(source: Tensor, index: number, target: Tensor, row: number, width: number): void {
  if (index < 0) return;
  target.data.set(source.data.subarray(index * width, (index + 1) * width), row * width);
}

/** Elements as numbers: a view of an array of numbers, or a converted copy of bit patterns. */
function numbers({ dtype, data }: Tensor, start: number, count: number): ArrayLike<number> {
  const part = data.subarray(start, start + count);
  if (dtype !== "bf16") return part;
  const copy = new Float32Array(count);
  fromBfloat16(part as Uint16Array, copy);
  return copy;
}

function store({ dtype, data }: Tensor, start: number, values: ArrayLike<number>): void {
  if (dtype !== "bf16") data.set(values, start);
  else toBfloat16(values, (data as Uint16Array).subarray(start, start + values.length));
}
