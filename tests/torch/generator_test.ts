import { assert, assertEquals, assertLessOrEqual, assertRejects, assertThrows } from "@std/assert";
import { Generator, zeros } from "../../mod.ts";
import { WorkerPool } from "../../src/wasm/worker_pool.ts";
import { Fixture } from "../fixtures.ts";

const fixture = new Fixture("torch-random");

/** The distance of two f32 in units in the last place of the second. */
function ulps(actual: number, expected: number): number {
  const exponent = Math.max(-126, Math.floor(Math.log2(Math.abs(expected))));
  return Math.abs(actual - expected) / 2 ** (exponent - 23);
}

/** A golden tensor's kind, seed and length, from its name. */
function parse(name: string): { kind: string; seed: bigint; count: number } {
  const [, kind, seed, count] = name.match(/^(\w+)\.seed(\d+)(?:\.n(\d+))?$/)!;
  return { kind: kind!, seed: BigInt(seed!), count: Number(count ?? 0) };
}

for (const name of fixture.names) {
  const { kind, seed, count } = parse(name);
  Deno.test(`Generator gives PyTorch's ${name}`, () => {
    const expected = fixture.f32(name).data;
    const random = new Generator(seed);
    const counts = kind === "sequence" ? [5, 5, 20, 3, 16, 1] : [count];
    const actual = counts.flatMap((n) => [...(kind === "rand" ? random.rand([n]) : random.randn([n])).data]);
    assertEquals(actual.length, expected.length);
    for (const [i, value] of actual.entries()) {
      assertLessOrEqual(ulps(value, expected[i]!), kind === "rand" ? 0 : 4, `element ${i}`);
      assertEquals(Math.f16round(value), Math.f16round(expected[i]!), `element ${i} in f16`);
    }
  });
}

Deno.test("Generator takes the low 32 bits of seeds up to 2^64 - 1", () => {
  const draw = (seed: number | bigint) => new Generator(seed).randn([20]).data;
  assertEquals(draw(2n ** 64n - 1n), draw(2 ** 32 - 1));
  assertEquals(draw(2n ** 32n + 5n), draw(5));
});

Deno.test("Generator rejects invalid seeds", () => {
  for (const seed of [-1, 1.5, NaN, 2 ** 53, -1n, 2n ** 64n]) {
    assertThrows(() => new Generator(seed), RangeError, "seed must be an integer from 0 to 2^64 - 1");
  }
});

Deno.test("randn() in parts continues one stream, with other calls in between", () => {
  const whole = new Generator(3).randn([16 * 40]).data;
  const random = new Generator(3);
  const parts = [16, 160, 16 * 29].flatMap((count) => [...random.randn([count]).data]);
  assertEquals(parts, [...whole]);
});

Deno.test("fillNormal() gives the same bits as randn() for any number of threads", async () => {
  const count = 300_007; // ragged, and more chunks than threads
  const expected = new Generator(11).randn([count]).data;
  for (const threads of [1, 2, 5]) {
    using engine = new WorkerPool(threads);
    const target = zeros("f32", [count]).data as Float32Array;
    const random = new Generator(11);
    await random.fillNormal(engine, target);
    assertEquals(target, expected);
    const next = new Generator(11);
    next.randn([count]);
    assertEquals(random.randn([3]).data, next.randn([3]).data);
  }
});

Deno.test("fillNormal() rounds to f16, scales in f32 and rounds again", async () => {
  using engine = new WorkerPool(2);
  for (const count of [5, 100, 100_003]) {
    const plain = new Generator(5).randn([count]).data;
    for (const scale of [1, 0.1, 0.02, 3]) {
      const target = zeros("f16", [count]).data as Float16Array;
      await new Generator(5).fillNormal(engine, target, { scale });
      const expected = Float16Array.from(plain, (x) => Math.fround(Math.f16round(x) * Math.fround(scale)));
      assertEquals(target, expected);
    }
  }
});

Deno.test("fillNormal() reports progress and refuses memory that workers cannot see", async () => {
  using engine = new WorkerPool(1);
  await assertRejects(() => new Generator(0).fillNormal(engine, new Float32Array(20)), TypeError, "shared memory");
  const seen: number[] = [];
  const target = zeros("f16", [40_000_000]).data as Float16Array;
  await new Generator(0).fillNormal(engine, target, { onProgress: (done) => seen.push(done) });
  assert(seen.every((done) => done >= 0 && done <= target.length));
  assertEquals(seen.at(-1), target.length);
});

Deno.test("randn() has the moments of a normal distribution", () => {
  const { data } = new Generator(99).randn([1_000_000]);
  let sum = 0, squares = 0, fourth = 0;
  for (const x of data) {
    sum += x;
    squares += x * x;
    fourth += x ** 4;
  }
  assertLessOrEqual(Math.abs(sum / data.length), 5e-3);
  assertLessOrEqual(Math.abs(squares / data.length - 1), 1e-2);
  assertLessOrEqual(Math.abs(fourth / data.length - 3), 5e-2);
});
