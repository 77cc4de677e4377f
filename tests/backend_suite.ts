// What every backend must do. Each backend's test file runs this over itself.
import { assert, assertEquals, assertLessOrEqual, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import { type Backend, experts, type ExpertsInputs, type ExpertsOptions, Generator, tensor, zeros } from "../mod.ts";
import { expertsInputs, Fixture, jobNames, relativeError } from "./fixtures.ts";
import { naiveExperts } from "./naive.ts";

/** The bound on ‖error‖ / ‖result‖ in f16. */
const relativeBound = 3.7e-4;

/** The bound on one element's error, over the magnitude of what was added up for it: three roundings to f16 and f32's own. */
const elementBound = 3 * 2 ** -11 + 2 ** -18;

/** The sizes of a random job. */
export interface RandomShape {
  T: number;
  H: number;
  I: number;
  E: number;
  K: number;
}

/** Inputs of the given sizes from a seed. `spread` 0 sends all tokens to one expert, 1 spreads them evenly. */
export function randomInputs(
  { T, H, I, E, K }: RandomShape,
  seed: number,
  { bias = true, dense = false, spread = 1 } = {},
): ExpertsInputs {
  const random = new Generator(seed);
  const half = (shape: number[], scale: number) =>
    tensor(Float16Array.from(random.randn(shape).data, (x) => x * scale), shape);
  const indices = Int32Array.from(random.rand([T, K]).data, (u) => Math.min(E - 1, Math.floor(u * spread * E)));
  return {
    hiddenStates: half([T, H], 1),
    routerIndices: tensor(indices, [T, K]),
    routingWeights: half([T, dense ? E : K], 1),
    gateUpProj: half([E, H, 2 * I], 1.5 / Math.sqrt(H)),
    gateUpProjBias: bias ? half([E, 2 * I], 0.5) : undefined,
    downProj: half([E, I, H], 1 / Math.sqrt(I)),
    downProjBias: bias ? half([E, H], 0.5) : undefined,
  };
}

/** Runs the op, compares each element with the naive model and returns the relative error of the whole. */
export async function checkAgainstNaive(
  backend: Backend,
  inputs: ExpertsInputs,
  options: ExpertsOptions = {},
): Promise<number> {
  const { data } = await experts(inputs, { ...options, backend });
  const { exact, magnitude } = naiveExperts(inputs, options);
  for (let i = 0; i < exact.length; i++) {
    const bound = elementBound * magnitude[i]! + 2 ** -24;
    assert(Math.abs(data[i]! - exact[i]!) <= bound, `element ${i}: ${data[i]}, expected ${exact[i]} within ${bound}`);
  }
  return relativeError(data, exact);
}

/**
 * Defines the tests of a backend.
 *
 * @param name What the tests are called by.
 * @param open Opens the backend.
 * @param options `ignore` where it cannot run; `hiddenMultiple`, what H and I must be multiples of.
 */
export function testBackend(
  name: string,
  open: () => Promise<Backend>,
  { ignore = false, multiple = 1, runs = 60 }: { ignore?: boolean; multiple?: number; runs?: number } = {},
): void {
  const test = (title: string, fn: (backend: Backend) => Promise<void>) =>
    Deno.test({
      name: `${name}: ${title}`,
      ignore,
      fn: async () => {
        using backend = await open();
        await fn(backend);
        assertEquals(backend.memory.liveBytes, 0, "tensors were left behind");
      },
    });

  for (const job of jobNames) {
    test(`experts() reproduces the golden job ${job}`, async (backend) => {
      const fixture = new Fixture(job);
      const options = { expertCapacity: Number(fixture.metadata.capacity), backend };
      const output = await experts(expertsInputs(fixture), options);
      assertLessOrEqual(relativeError(output.data, fixture.f64("output_f64")), relativeBound);
      const dense = await experts(expertsInputs(fixture, "dense"), options);
      assertEquals(dense.data, output.data);
    });
  }

  test("experts() gives the same bits every time", async (backend) => {
    const inputs = randomInputs({ T: 100, H: 64, I: 96, E: 5, K: 3 }, 1);
    const first = await experts(inputs, { backend });
    for (let i = 0; i < 3; i++) assertEquals((await experts(inputs, { backend })).data, first.data);
  });

  test("experts() agrees with the naive model on random jobs", async (backend) => {
    const size = (max: number) => fc.integer({ min: 1, max: Math.ceil(max / multiple) }).map((n) => n * multiple);
    const job = fc.record({
      shape: fc.record({
        T: fc.integer({ min: 0, max: 70 }),
        H: size(80),
        I: size(80),
        E: fc.integer({ min: 1, max: 9 }),
        K: fc.integer({ min: 1, max: 4 }),
      }),
      seed: fc.integer({ min: 0, max: 1e6 }),
      bias: fc.boolean(),
      dense: fc.boolean(),
      spread: fc.constantFrom(0, 0.4, 1),
      expertCapacity: fc.option(fc.integer({ min: 1, max: 40 }), { nil: undefined }),
    });
    const property = fc.asyncProperty(job, async ({ shape, seed, bias, dense, spread, expertCapacity }) => {
      const inputs = randomInputs(shape, seed, { bias, dense, spread });
      await checkAgainstNaive(backend, inputs, { expertCapacity, routingWeightsLayout: dense ? "dense" : "top-k" });
    });
    await fc.assert(property, { numRuns: runs, seed: 1 });
  });

  for (const shape of [{ T: 200, H: 64, I: 64, E: 4, K: 2 }, { T: 64, H: 96, I: 200, E: 16, K: 4 }]) {
    test(`experts() is within ${relativeBound} of float64 on ${JSON.stringify(shape)}`, async (backend) => {
      assertLessOrEqual(await checkAgainstNaive(backend, randomInputs(shape, 4)), relativeBound);
    });
  }

  const edges: Record<string, [RandomShape, ExpertsOptions?, Parameters<typeof randomInputs>[2]?]> = {
    "no token": [{ T: 0, H: 8, I: 8, E: 2, K: 1 }],
    "one token, one expert": [{ T: 1, H: 8, I: 8, E: 1, K: 1 }],
    "more experts than assignments": [{ T: 3, H: 16, I: 24, E: 40, K: 2 }],
    "one expert with everything": [{ T: 300, H: 48, I: 40, E: 4, K: 2 }, {}, { spread: 0 }],
    "a capacity of one": [{ T: 50, H: 32, I: 16, E: 3, K: 2 }, { expertCapacity: 1 }],
    "intermediate larger than hidden": [{ T: 40, H: 16, I: 200, E: 3, K: 2 }],
    "hidden larger than intermediate": [{ T: 40, H: 520, I: 8, E: 3, K: 2 }],
    "more depth than one pass of the packed panels": [{ T: 9, H: 1000, I: 808, E: 2, K: 1 }],
    "more rows than one block": [{ T: 1700, H: 8, I: 8, E: 1, K: 1 }],
  };
  for (const [title, [shape, options, kind]] of Object.entries(edges)) {
    test(`experts() handles ${title}`, async (backend) => {
      await checkAgainstNaive(backend, randomInputs(shape, 7, kind), options);
    });
  }

  test("experts() writes zeros for tokens whose every assignment was dropped", async (backend) => {
    const inputs = randomInputs({ T: 20, H: 16, I: 16, E: 1, K: 1 }, 3);
    const { data } = await experts(inputs, { expertCapacity: 4, backend });
    assert(data.subarray(0, 4 * 16).every((value) => value !== 0));
    assert(data.subarray(4 * 16).every((value) => Object.is(value, 0)));
  });

  test("experts() carries NaN and infinity to the token they belong to, and no further", async (backend) => {
    const inputs = randomInputs({ T: 20, H: 16, I: 16, E: 3, K: 2 }, 3);
    const clean = await experts(inputs, { backend });
    inputs.hiddenStates.data[5 * 16] = NaN;
    inputs.hiddenStates.data[9 * 16 + 3] = Infinity;
    const { data } = await experts(inputs, { backend });
    assert(data.subarray(5 * 16, 6 * 16).every(Number.isNaN));
    for (let i = 0; i < data.length; i++) {
      const token = Math.floor(i / 16);
      if (token !== 5 && token !== 9) assertEquals(data[i], clean.data[i]);
    }
  });

  test("memory counts what is live and its peak", async (backend) => {
    const a = backend.allocate("f16", [100, 10]);
    assertEquals(backend.memory.liveBytes, 2000);
    const b = backend.allocate("i32", [10]);
    a[Symbol.dispose]();
    a[Symbol.dispose]();
    assertEquals(backend.memory.liveBytes, 40);
    assertEquals(backend.memory.peakBytes, 2040);
    backend.resetPeakMemory();
    assertEquals(backend.memory.peakBytes, 40);
    b[Symbol.dispose]();
    await backend.synchronize();
  });

  test("fill() and read() go through a whole tensor once, in order", async (backend) => {
    const values = 100_000;
    using target = backend.allocate("i32", [values]);
    let filled = 0;
    await backend.fill(target, (piece, start) => {
      assertEquals(start, filled);
      for (let i = 0; i < piece.length; i++) piece[i] = start + i;
      filled += piece.length;
    });
    assertEquals(filled, values);
    let read = 0;
    await backend.read(target, (piece, start) => {
      assertEquals(start, read);
      assert(piece.every((value, i) => value === start + i));
      read += piece.length;
    });
    assertEquals(read, values);
    assertEquals((await backend.download(target)).data.at(-1), values - 1);
  });

  test("transfers that begin together do not disturb each other", async (backend) => {
    using scope = new DisposableStack();
    const tensors = await Promise.all([1, 2, 3].map(async (factor) => {
      const tensor = scope.use(backend.allocate("i32", [50_000]));
      await backend.fill(tensor, async (piece, start) => {
        for (let i = 0; i < piece.length; i++) piece[i] = (start + i) * factor;
        await Promise.resolve();
      });
      return tensor;
    }));
    const copies = await Promise.all(tensors.map((tensor) => backend.download(tensor)));
    for (const [k, { data }] of copies.entries()) assert(data.every((value, i) => value === i * (k + 1)));
  });

  test("a disposed tensor and one of another backend are refused", async (backend) => {
    using other = await open();
    const gone = backend.upload(zeros("f16", [2, 2]));
    gone[Symbol.dispose]();
    await assertRejects(async () => await backend.download(gone), TypeError, "disposed");
    using foreign = other.upload(zeros("f16", [2, 2]));
    await assertRejects(async () => await backend.download(foreign), TypeError, "another backend");
  });

  test("allocate() refuses what cannot be had, and leaks nothing", (backend) => {
    assertThrows(() => backend.allocate("f16", [2 ** 45]), RangeError);
    return Promise.resolve();
  });
}
