// Tests of ops on tensors of which a size is zero, and on bytes. `testOps` calls them.
import { assertEquals, assertRejects } from "@std/assert";
import { type Backend, type BackendTensor, convert, type DType, ops, type Tensor, tensor, zeros } from "../mod.ts";
import type { BackendTest } from "./backend_case.ts";
import { numbers } from "./naive.ts";

const i32 = (...values: number[]) => tensor(Int32Array.from(values));

/** Checks the shape and the values of a tensor. */
function assertTensor(actual: Tensor, shape: readonly number[], values: readonly number[]): void {
  assertEquals([actual.shape, [...numbers(actual)]], [shape, values]);
}

/** Uploads tensors, runs an op of the backend, and downloads its result. */
async function runOn(
  backend: Backend,
  inputs: readonly Tensor[],
  run: (...inputs: BackendTensor[]) => Promise<BackendTensor>,
): Promise<Tensor> {
  using scope = new DisposableStack();
  const output = await run(...inputs.map((input) => scope.use(backend.upload(input))));
  return await backend.download(scope.use(output));
}

/** Registers the tests. */
export function testZeroSizes(test: BackendTest, dtypes: readonly DType[]): void {
  const ones = (dtype: DType, shape: readonly number[]) =>
    convert(tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(1), shape), dtype);

  test("sort() and bincountCumsum() of no values give empty lists and zeros", async (backend) => {
    const { values, indices } = await ops.sort(i32(), 3, { backend });
    assertTensor(values, [0], []);
    assertTensor(indices, [0], []);
    const { counts, cumsum } = await ops.bincountCumsum(i32(), 3, { backend });
    assertTensor(counts, [3], [0, 0, 0]);
    assertTensor(cumsum, [3], [0, 0, 0]);
  });

  test("indexSelect() from no rows selects none, and refuses an index", async (backend) => {
    for (const dtype of [...dtypes, "i32", "u8"] as const) {
      for (const shape of [[0, 8], [0], [0, 2, 4], [3, 0], [3, 0, 2]]) {
        const selected = await ops.indexSelect(zeros(dtype, shape), i32(), { backend });
        assertTensor(selected, [0, ...shape.slice(1)], []);
      }
      assertTensor(await ops.indexSelect(zeros(dtype, [3, 0]), i32(2, 0), { backend }), [2, 0], []);
      const select = (index: number) => ops.indexSelect(zeros(dtype, [0, 8]), i32(index), { backend });
      const message = "indices must be empty because there is nothing to select, got";
      await assertRejects(() => select(0), RangeError, `${message} 0 at element 0`);
      await assertRejects(() => select(-1), RangeError, `${message} -1 at element 0`);
      // The indices of a tensor on a device are not read. A row that does not exist is zeros.
      const inputs = [zeros(dtype, [0, 8]), i32(0, 5)];
      assertTensor(
        await runOn(backend, inputs, (x, at) => backend.ops.indexSelect(x!, at!)),
        [2, 8],
        zero(16),
      );
    }
  });

  test("gather() of no tokens or into no bins, and rows of no elements", async (backend) => {
    for (const dtype of dtypes) {
      const gather = (tokens: Tensor, indices: Tensor, cumsum: Tensor, topK = 1) =>
        ops.gather(tokens, indices, cumsum, { capacity: 2, topK, backend });
      assertTensor(await gather(zeros(dtype, [0, 8]), i32(), i32(0, 0)), [2, 2, 8], zero(32));
      assertTensor(await gather(zeros(dtype, [0, 8]), i32(), i32()), [0, 2, 8], []);
      assertTensor(await gather(ones(dtype, [3, 8]), i32(2, 0, 1), i32()), [0, 2, 8], []);
      assertTensor(await gather(zeros(dtype, [2, 0]), i32(1, 0), i32(1, 2)), [2, 2, 0], []);
      assertTensor(await gather(ones(dtype, [1, 8]), i32(0, 1), i32(0, 0), 2), [2, 2, 8], zero(32));
    }
  });

  test("scatter() of no tokens, slots, bins, rows or elements", async (backend) => {
    for (const dtype of dtypes) {
      const scatter = (bins: Tensor, indices: Tensor, cumsum: Tensor, weights: Tensor) =>
        ops.scatter(bins, indices, cumsum, weights, { backend });
      const [two, none] = [ones(dtype, [2, 1]), i32()];
      assertTensor(await scatter(ones(dtype, [2, 2, 8]), none, i32(0, 0), zeros(dtype, [0, 1])), [0, 8], []);
      assertTensor(await scatter(ones(dtype, [2, 2, 8]), none, i32(0, 0), zeros(dtype, [2, 0])), [2, 8], zero(16));
      const unbinned = [zeros(dtype, [0, 2, 8]), i32(0, 1), none, two] as const;
      await assertRejects(() => scatter(...unbinned), RangeError, "the number of assignments, 2, got no element");
      const sums = await runOn(backend, unbinned, (x, order, ends, w) => backend.ops.scatter(x!, order!, ends!, w!));
      assertTensor(sums, [2, 8], zero(16));
      assertTensor(await scatter(zeros(dtype, [2, 0, 8]), i32(0, 1), i32(1, 2), two), [2, 8], zero(16));
      assertTensor(await scatter(zeros(dtype, [2, 2, 0]), i32(0, 1), i32(1, 2), two), [2, 0], []);
    }
  });

  test("a product of which a size is zero: empty, zeros, or the bias", async (backend) => {
    for (const dtype of dtypes) {
      for (
        const [batch, rows, depth, columns] of [[3, 2, 0, 8], [3, 2, 8, 0], [3, 0, 8, 8], [0, 2, 8, 8], [0, 0, 0, 0]]
      ) {
        const [a, b] = [ones(dtype, [batch!, rows!, depth!]), ones(dtype, [batch!, depth!, columns!])];
        const count = batch! * rows! * columns!;
        assertTensor(await ops.batchedMatmul(a, b, { backend }), [batch!, rows!, columns!], zero(count));
        const inputs = [ones(dtype, [rows!, depth!]), ones(dtype, [columns!, depth!]), ones(dtype, [columns!])];
        const linear = await runOn(backend, inputs, (x, w, bias) => backend.ops.linear(x!, w!, { bias }));
        assertTensor(linear, [rows!, columns!], Array(rows! * columns!).fill(depth! + 1));
      }
    }
  });

  test("full() of no elements", async (backend) => {
    for (const dtype of [...dtypes, "i32", "u8"] as const) {
      for (const shape of [[0], [2, 0], [0, 3]]) {
        assertTensor(await runOn(backend, [], () => backend.ops.full(dtype, shape, 1)), shape, []);
      }
    }
  });

  test("full() and indexSelect() of bytes: the right ones, and on a GPU not an odd number", async (backend) => {
    const fill = (...shape: number[]) => runOn(backend, [], () => backend.ops.full("u8", shape, 200));
    const source = (width: number) => tensor(Uint8Array.from({ length: 3 * width }, (_, i) => i), [3, width]);
    const select = (width: number) => ops.indexSelect(source(width), i32(2, 0), { backend });
    assertTensor(await fill(2, 5), [2, 5], Array(10).fill(200));
    assertTensor(await select(2), [2, 2], [4, 5, 0, 1]);
    if (backend.name === "cuda") {
      await assertRejects(() => fill(3), RangeError, "The number of bytes of a tensor must be even on the GPU, got 3");
      await assertRejects(() => select(3), RangeError, "The number of bytes of a row must be even on the GPU, got 3");
    } else {
      assertTensor(await fill(3), [3], [200, 200, 200]);
      assertTensor(await select(3), [2, 3], [6, 7, 8, 0, 1, 2]);
    }
  });
}

function zero(count: number): number[] {
  return Array(count).fill(0);
}
