// The steps of a layer on the CPU: products and sums on all threads, the others each a loop as its definition reads.
import type { BackendTensor } from "../backend/backend.ts";
import { fromBfloat16, toBfloat16 } from "../tensor/bfloat16.ts";
import type {
  BinsCall,
  FullCall,
  GatherCall,
  LinearCall,
  MatmulCall,
  ProductShape,
  RouteCall,
  ScatterCall,
  SelectCall,
} from "../contract/resolve_ops.ts";
import type { BackendSteps } from "../backend/steps.ts";
import type { BackendRouting, BinCounts, Sorted } from "../contract/ops.ts";
import { routeTokens } from "../routing/route.ts";
import type { DType, Tensor, TensorData } from "../tensor/tensor.ts";
import type { Engine } from "../wasm/engine.ts";
import { productJob, type ProductTensors } from "./product.ts";

/** What the ops need of the backend they belong to. */
export interface CpuOpsHost<T extends BackendTensor & Tensor> {
  allocate(dtype: DType, shape: readonly number[]): T;
  /** The tensor as the backend's own. */
  own(tensor: BackendTensor): T;
  readonly pool: Engine;
}

/** The ops on CPU tensors. */
export class CpuOps<T extends BackendTensor & Tensor> implements BackendSteps<T> {
  readonly #host: CpuOpsHost<T>;

  constructor(host: CpuOpsHost<T>) {
    this.#host = host;
  }

  full({ dtype, shape, value }: FullCall): Promise<T> {
    return this.#run(() => {
      const output = this.#host.allocate(dtype, shape);
      const bits = new Uint16Array(1);
      if (dtype === "bf16") toBfloat16([value], bits);
      output.data.fill(dtype === "bf16" ? bits[0]! : value);
      return output;
    });
  }

  linear({ input, weight, bias, dtype, shape }: LinearCall<BackendTensor>): Promise<T> {
    return this.#run(async () => {
      const [a, b] = this.#own(input, weight) as [T, T];
      const output = this.#host.allocate(dtype, [shape.rows, shape.columns]);
      await this.#multiply(shape, { a, b, transposed: true, bias: bias && this.#host.own(bias), output });
      return output;
    });
  }

  route({ logits, correctionBias, router, dtype }: RouteCall<BackendTensor>): Promise<BackendRouting> {
    return this.#run(() => {
      const routing = routeTokens(this.#host.own(logits), router, correctionBias && this.#host.own(correctionBias));
      using cleanup = new DisposableStack();
      const copy = (dtype: DType, { data, shape }: Tensor) => {
        const target = cleanup.use(this.#host.allocate(dtype, shape));
        store(target, 0, data);
        return target;
      };
      const routerIndices = copy("i32", routing.routerIndices);
      const routerWeights = copy(dtype, routing.routerWeights);
      const inputWeights = routing.inputWeights && copy("f32", routing.inputWeights);
      cleanup.move();
      return { routerIndices, routerWeights, inputWeights };
    });
  }

  sort({ values, bins, count }: BinsCall<BackendTensor>): Promise<Sorted<T>> {
    return this.#run(() => {
      const data = this.#host.own(values).data;
      const next = counts(data, bins);
      for (let b = bins - 1, end = count; b >= 0; b--) next[b] = end -= next[b]!;
      const sorted = this.#host.allocate("i32", [count]), indices = this.#host.allocate("i32", [count]);
      for (let i = 0; i < count; i++) {
        const place = next[data[i]!]!++;
        sorted.data[place] = data[i]!;
        indices.data[place] = i;
      }
      return { values: sorted, indices };
    });
  }

  bincountCumsum({ values, bins }: BinsCall<BackendTensor>): Promise<BinCounts<T>> {
    return this.#run(() => {
      const found = counts(this.#host.own(values).data, bins);
      const result = { counts: this.#host.allocate("i32", [bins]), cumsum: this.#host.allocate("i32", [bins]) };
      result.counts.data.set(found);
      for (let b = 0, sum = 0; b < bins; b++) result.cumsum.data[b] = sum += found[b]!;
      return result;
    });
  }

  indexSelect({ source, indices, rows, width }: SelectCall<BackendTensor>): Promise<T> {
    return this.#run(() => {
      const [from, at] = this.#own(source, indices);
      const output = this.#host.allocate(source.dtype, [rows, ...source.shape.slice(1)]);
      for (let r = 0; r < rows; r++) copyRow(from!, at!.data[r]!, output, r, width);
      return output;
    });
  }

  gather({ source, indices, cumsum, shape }: GatherCall<BackendTensor>): Promise<T> {
    return this.#run(() => {
      const { bins, capacity, hidden, topK } = shape;
      const [from, order, ends] = this.#own(source, indices, cumsum);
      const output = this.#host.allocate(source.dtype, [bins, capacity, hidden]);
      for (let b = 0; b < bins; b++) {
        const start = b === 0 ? 0 : ends!.data[b - 1]!;
        for (let c = 0; c < capacity && start + c < ends!.data[b]!; c++) {
          copyRow(from!, Math.floor(order!.data[start + c]! / topK), output, b * capacity + c, hidden);
        }
      }
      return output;
    });
  }

  scatter({ source, indices, cumsum, weights, shape }: ScatterCall<BackendTensor>): Promise<T> {
    return this.#run(() => {
      const { tokens, topK, assignments, bins, capacity, hidden } = shape;
      const [from, order, ends, factors] = this.#own(source, indices, cumsum, weights);
      const rows = new Int32Array(assignments).fill(-1);
      for (let b = 0, place = 0; b < bins; b++) {
        for (let c = 0; place < ends!.data[b]!; c++, place++) {
          if (c < capacity) rows[order!.data[place]!] = b * capacity + c;
        }
      }
      const output = this.#host.allocate(source.dtype, [tokens, hidden]);
      const w = numbers(factors!, 0, assignments);
      const sum = new Float32Array(hidden);
      for (let t = 0; t < tokens; t++) {
        sum.fill(0);
        for (let i = t * topK; i < (t + 1) * topK; i++) {
          if (rows[i]! >= 0) add(sum, numbers(from!, rows[i]! * hidden, hidden), w[i]!);
        }
        store(output, t * hidden, sum);
      }
      return output;
    });
  }

  batchedMatmul({ a, b, shape }: MatmulCall<BackendTensor>): Promise<T> {
    return this.#run(async () => {
      const [x, y] = this.#own(a, b) as [T, T];
      const output = this.#host.allocate(a.dtype, [shape.batch, shape.rows, shape.columns]);
      await this.#multiply(shape, { a: x, b: y, transposed: false, output });
      return output;
    });
  }

  #multiply(shape: ProductShape, tensors: ProductTensors): Promise<void> {
    const { pool } = this.#host;
    return pool.run("experts", productJob(shape, tensors, pool.threads));
  }

  #own(...tensors: BackendTensor[]): T[] {
    return tensors.map((tensor) => this.#host.own(tensor));
  }

  /** Turns what is thrown into a rejection, as it is where work is not done at once. */
  #run<Result>(run: () => Result | Promise<Result>): Promise<Result> {
    return Promise.try(run);
  }
}

function add(sum: Float32Array, row: ArrayLike<number>, weight: number): void {
  for (let i = 0; i < sum.length; i++) sum[i]! += row[i]! * weight;
}

function counts(values: TensorData, bins: number): Int32Array {
  const counts = new Int32Array(bins);
  for (let i = 0; i < values.length; i++) counts[values[i]!]! += 1;
  return counts;
}

/** Copies a row; one that is not there leaves the zeros that are. */
function copyRow(source: Tensor, index: number, target: Tensor, row: number, width: number): void {
  if (index < 0) return;
  target.data.set(source.data.subarray(index * width, (index + 1) * width), row * width);
}

/** Elements as numbers: a view where the array holds numbers, a copy of bit patterns. */
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
