// Indices that do not name anything, or name a row twice, in the ops of a backend. Each backend's tests run this.
import { assertEquals } from "@std/assert";
import { type Backend, Generator, type Tensor, tensor } from "../mod.ts";
import type { BackendTensor } from "../src/backend/backend.ts";

/** The assignments of bins: `edge(b)` is the position in `order` at which bin b ends. */
function edges(cumsum: readonly number[], n: number): (bin: number) => number {
  return (bin) => bin < 0 ? 0 : Math.max(0, Math.min(cumsum[bin]!, n));
}

/** The assignment in row c of a bin, or -1. */
function assignmentAt(order: readonly number[], cumsum: readonly number[], bin: number, c: number): number {
  const edge = edges(cumsum, order.length);
  const position = edge(bin - 1) + c;
  const assignment = position < edge(bin) ? order[position]! : -1;
  return assignment >= 0 && assignment < order.length ? assignment : -1;
}

/** `gather` by definition: an assignment outside of the list, and a missing one, selects zeros. */
export function naiveGather(
  source: readonly number[],
  order: readonly number[],
  cumsum: readonly number[],
  capacity: number,
  topK: number,
): number[] {
  return cumsum.flatMap((_, bin) =>
    Array.from({ length: capacity }, (_, c) => {
      const assignment = assignmentAt(order, cumsum, bin, c);
      return assignment < 0 ? 0 : source[Math.floor(assignment / topK)]!;
    })
  );
}

/** `scatter` by definition: an assignment that `order` names twice takes its last row that is within the capacity. */
export function naiveScatter(
  source: readonly number[],
  order: readonly number[],
  cumsum: readonly number[],
  capacity: number,
): number[] {
  const output = order.map(() => 0);
  for (const bin of cumsum.keys()) {
    for (let c = 0; c < capacity; c++) {
      const assignment = assignmentAt(order, cumsum, bin, c);
      if (assignment >= 0) output[assignment] = source[bin * capacity + c]!;
    }
  }
  return output;
}

/** Registers the tests. Rows have one element, so that a result is a list of numbers. */
export function testIndices(title: string, open: () => Promise<Backend>, { ignore = false } = {}): void {
  const test = (name: string, run: (backend: Backend, upload: (host: Tensor) => BackendTensor) => Promise<void>) =>
    Deno.test({
      name: `${title}: ${name}`,
      ignore,
      fn: async () => {
        using backend = await open();
        {
          using scope = new DisposableStack();
          await run(backend, (host) => scope.use(backend.upload(host)));
        }
        assertEquals(backend.memory.liveBytes, 0);
      },
    });
  const i32 = (...values: number[]) => tensor(Int32Array.from(values), [values.length]);
  const f32 = (values: readonly number[], ...shape: number[]) => tensor(Float32Array.from(values), shape);
  const dataOf = async (backend: Backend, made: BackendTensor) => {
    using result = made;
    return [...(await backend.download(result)).data];
  };
  const far = [-1, -(2 ** 31), 2 ** 31 - 1, 2 ** 30];

  test("indexSelect() selects zeros for an index outside of the source", async (backend, upload) => {
    const source = upload(f32([1, 2, 3], 3, 1));
    const result = await backend.ops.indexSelect(source, upload(i32(2, ...far, 3, 0)));
    assertEquals(await dataOf(backend, result), [3, 0, 0, 0, 0, 0, 1]);
  });

  const lists: Readonly<Record<string, readonly [order: number[], cumsum: number[]]>> = {
    "an index of -1": [[0, -1, 2, 1], [2, 4]],
    "indices outside of the list": [[...far], [1, 4]],
    "an index of N": [[0, 4, 1, 2], [2, 4]],
    "an index that occurs twice in a bin": [[1, 1, 0, 2], [2, 4]],
    "an index that occurs in two bins": [[1, 0, 1, 2], [2, 4]],
    "an index that always occurs": [[3, 3, 3, 3], [1, 4]],
    "a cumsum beyond the end": [[0, 1, 2, 3], [2, 2 ** 29]],
    "a cumsum far beyond the end": [[0, 1, 2, 3], [2 ** 31 - 1, 2 ** 31 - 1]],
    "a cumsum that ends early": [[0, 1, 2, 3], [1, 3]],
    "a negative cumsum": [[0, 1, 2, 3], [-(2 ** 31), 4]],
    "a cumsum of zeros": [[0, 1, 2, 3], [0, 0]],
  };
  for (const [name, [order, cumsum]] of Object.entries(lists)) {
    test(`gather() with ${name}`, async (backend, upload) => {
      for (const [capacity, topK] of [[3, 1], [1, 2], [2, 4]] as const) {
        const source = Array.from({ length: 4 / topK }, (_, t) => t + 1);
        const tokens = upload(f32(source, source.length, 1));
        const result = await backend.ops.gather(tokens, upload(i32(...order)), upload(i32(...cumsum)), {
          capacity,
          topK,
        });
        assertEquals(await dataOf(backend, result), naiveGather(source, order, cumsum, capacity, topK));
      }
    });
    test(`scatter() with ${name}`, async (backend, upload) => {
      for (const capacity of [1, 3]) {
        const source = Array.from({ length: 2 * capacity }, (_, i) => i + 1);
        const result = await backend.ops.scatter(
          upload(f32(source, 2, capacity, 1)),
          upload(i32(...order)),
          upload(i32(...cumsum)),
          upload(f32([1, 1, 1, 1], 4, 1)),
        );
        assertEquals(await dataOf(backend, result), naiveScatter(source, order, cumsum, capacity));
      }
    });
  }

  test("gather() and scatter() with random indices and a cumsum that does not decrease", async (backend, upload) => {
    const random = new Generator(7);
    const integers = (count: number, scale: number) =>
      [...random.randn([Math.max(count, 16)]).data].slice(0, count).map((x) => Math.round(x * scale));
    for (let i = 0; i < 40; i++) {
      const n = 1 + i % 13, bins = 1 + i % 5, capacity = 1 + i % 4;
      const order = integers(n, n / 2);
      const cumsum = integers(bins, n).sort((a, b) => a - b);
      const source = Array.from({ length: n }, (_, t) => t + 1);
      const rows = Array.from({ length: bins * capacity }, (_, r) => r + 1);
      const [indices, ends] = [upload(i32(...order)), upload(i32(...cumsum))];
      const gathered = await backend.ops.gather(upload(f32(source, n, 1)), indices, ends, { capacity });
      assertEquals(
        await dataOf(backend, gathered),
        naiveGather(source, order, cumsum, capacity, 1),
        `${order} ${cumsum}`,
      );
      const ones = upload(f32(source.map(() => 1), n, 1));
      const scattered = await backend.ops.scatter(upload(f32(rows, bins, capacity, 1)), indices, ends, ones);
      assertEquals(await dataOf(backend, scattered), naiveScatter(rows, order, cumsum, capacity), `${order} ${cumsum}`);
    }
  });

  test("a cumsum that decreases leaves the results unspecified and the backend intact", async (backend, upload) => {
    const order = upload(i32(0, 1, 2, 3));
    for (const cumsum of [[3, 1, 4], [2 ** 31 - 1, -(2 ** 31), 0], [4, 0, 2 ** 31 - 1]]) {
      const ends = upload(i32(...cumsum));
      await dataOf(backend, await backend.ops.gather(upload(f32([1, 2, 3, 4], 4, 1)), order, ends, { capacity: 2 }));
      const [bins, weights] = [upload(f32([1, 2, 3, 4, 5, 6], 3, 2, 1)), upload(f32([1, 1, 1, 1], 4, 1))];
      await dataOf(backend, await backend.ops.scatter(bins, order, ends, weights));
    }
    const sorted = await backend.ops.indexSelect(upload(f32([1, 2], 2, 1)), upload(i32(1, 0)));
    assertEquals(await dataOf(backend, sorted), [2, 1]);
  });

  test("sort() and bincountCumsum() leave out values outside of the bins", async (backend, upload) => {
    const values = upload(i32(1, 9, 0, -1, 1, 2 ** 31 - 1));
    const { counts, cumsum } = await backend.ops.bincountCumsum(values, 2);
    assertEquals([await dataOf(backend, counts), await dataOf(backend, cumsum)], [[1, 2], [1, 3]]);
    const { values: sorted, indices } = await backend.ops.sort(values, 2);
    assertEquals((await dataOf(backend, sorted)).slice(0, 3), [0, 1, 1]);
    assertEquals((await dataOf(backend, indices)).slice(0, 3), [2, 0, 4]);
  });

  test("experts() drops the assignments of unknown experts", async (backend, upload) => {
    const one = (index: number) => ({
      hiddenStates: upload(f32(Array(8).fill(1), 1, 8)),
      routerIndices: upload(tensor(Int32Array.of(index), [1, 1])),
      routingWeights: upload(f32([1], 1, 1)),
      gateUpProj: upload(f32(Array(2 * 8 * 16).fill(0.1), 2, 8, 16)),
      downProj: upload(f32(Array(2 * 8 * 8).fill(0.1), 2, 8, 8)),
    });
    for (const index of [2, ...far]) {
      assertEquals(await dataOf(backend, await backend.experts(one(index))), Array(8).fill(0));
    }
  });
}
