// Random calls of a backend's ops, and their right results, for the lifetime tests.
import { type BackendOps, type BackendTensor, type Tensor, tensor } from "../mod.ts";
import { naiveGather, naiveScatter } from "./indices_suite.ts";
import type { SmallRandom } from "./small_random.ts";

/** A call of an op: the tensors to upload, the call on them, and its right results. */
export interface OpCall {
  readonly tensors: readonly Tensor[];
  readonly run: (tensors: readonly BackendTensor[]) => Promise<readonly BackendTensor[]>;
  readonly expected: readonly Tensor[];
}

/** Makes a tensor of random integers of a magnitude, as f32. */
export function randomFloats(random: SmallRandom, shape: readonly number[], magnitude: number): Tensor {
  return tensor(Float32Array.from(randomIntegers(random, shape, -magnitude, magnitude).data), shape);
}

/** Makes a tensor of random integers, both bounds included, as i32. */
export function randomIntegers(random: SmallRandom, shape: readonly number[], from: number, to: number): Tensor {
  const count = shape.reduce((product, size) => product * size, 1);
  return tensor(Int32Array.from({ length: count }, () => random.integer(from, to)), shape);
}

/** Makes a call of a random op. `rows` are rows that it may read. */
export function randomOp(random: SmallRandom, ops: BackendOps, rows: Tensor): OpCall {
  return random.weighted([[1, full], [1, linear], [1, select], [1, sort], [1, gather], [1, scatter]])(
    random,
    ops,
    rows,
  );
}

function full(random: SmallRandom, ops: BackendOps): OpCall {
  const value = random.integer(-9, 9), shape = [random.integer(0, 3), 8];
  const expected = tensor(new Float32Array(shape[0] === 0 ? 0 : 8 * Number(shape[0])).fill(value), shape);
  return { tensors: [], run: async () => [await ops.full("f32", shape, value)], expected: [expected] };
}

function linear(random: SmallRandom, ops: BackendOps, input: Tensor): OpCall {
  const weight = randomFloats(random, [random.integer(1, 4), input.shape[1] ?? 0], 1);
  return {
    tensors: [input, weight],
    run: async ([x, w]) => [await ops.linear(present(x), present(w))],
    expected: [naiveLinear(input, weight)],
  };
}

function select(random: SmallRandom, ops: BackendOps, source: Tensor): OpCall {
  const indices = randomIntegers(random, [random.integer(0, 6)], -2, (source.shape[0] ?? 0) + 1);
  return {
    tensors: [source, indices],
    run: async ([from, at]) => [await ops.indexSelect(present(from), present(at))],
    expected: [naiveSelect(source, indices)],
  };
}

function sort(random: SmallRandom, ops: BackendOps): OpCall {
  const bins = random.integer(1, 4);
  const values = randomIntegers(random, [random.integer(0, 9)], 0, bins - 1);
  const sorted = [...values.data].map((value, index) => ({ value, index })).sort((a, b) => a.value - b.value);
  return {
    tensors: [values],
    run: async ([tensor]) => {
      const { values, indices } = await ops.sort(present(tensor), bins);
      return [values, indices];
    },
    expected: [
      tensor(Int32Array.from(sorted, ({ value }) => value)),
      tensor(Int32Array.from(sorted, ({ index }) => index)),
    ],
  };
}

/** Lists of `gather` and `scatter`, with indices that name nothing or a row twice. */
function binLists(random: SmallRandom) {
  const n = random.integer(1, 8), bins = random.integer(1, 4), capacity = random.integer(1, 3);
  const indices = randomIntegers(random, [n], -1, n), cumsum = randomIntegers(random, [bins], -1, n + 2);
  cumsum.data.sort();
  return { n, bins, capacity, indices, cumsum, lists: [[...indices.data], [...cumsum.data]] as const };
}

function gather(random: SmallRandom, ops: BackendOps): OpCall {
  const { n, bins, capacity, indices, cumsum, lists } = binLists(random);
  const source = randomFloats(random, [n, 1], 9);
  const rows = naiveGather([...source.data], ...lists, capacity, 1);
  return {
    tensors: [source, indices, cumsum],
    run: async ([from, order, ends]) => [await ops.gather(present(from), present(order), present(ends), { capacity })],
    expected: [tensor(Float32Array.from(rows), [bins, capacity, 1])],
  };
}

function scatter(random: SmallRandom, ops: BackendOps): OpCall {
  const { n, bins, capacity, indices, cumsum, lists } = binLists(random);
  const source = randomFloats(random, [bins, capacity, 1], 9), weights = tensor(new Float32Array(n).fill(1), [n, 1]);
  const rows = naiveScatter([...source.data], ...lists, capacity);
  return {
    tensors: [source, indices, cumsum, weights],
    run: async ([from, order, ends, factors]) => [
      await ops.scatter(present(from), present(order), present(ends), present(factors)),
    ],
    expected: [tensor(Float32Array.from(rows), [n, 1])],
  };
}

function present(tensor: BackendTensor | undefined): BackendTensor {
  if (!tensor) throw new RangeError("Expected another tensor");
  return tensor;
}

function naiveLinear({ data: x, shape: [rows = 0, depth = 0] }: Tensor, { data: w, shape: [columns = 0] }: Tensor) {
  const y = Float32Array.from({ length: rows * columns }, (_, i) => {
    let sum = 0;
    for (let d = 0; d < depth; d++) {
      sum += (x[Math.floor(i / columns) * depth + d] ?? 0) * (w[i % columns * depth + d] ?? 0);
    }
    return sum;
  });
  return tensor(y, [rows, columns]);
}

function naiveSelect({ data, shape: [rows = 0, width = 0] }: Tensor, indices: Tensor): Tensor {
  const selected = [...indices.data].flatMap((row) =>
    row >= 0 && row < rows ? [...data.subarray(row * width, (row + 1) * width)] : Array<number>(width).fill(0)
  );
  return tensor(Float32Array.from(selected), [indices.data.length, width]);
}
