// A/B runs, on times of a machine whose load changes.
import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { callInTurn, ratioOf } from "../src/bench/in_turn.ts";

/** Makes a generator of uniform numbers in (0, 1] that repeats for every seed. */
function uniformGenerator(seed: bigint): () => number {
  let state = seed;
  return () => {
    state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn;
    return (Number(state >> 11n) + 1) / 2 ** 53;
  };
}

const uniform = uniformGenerator(18n);
const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());

/**
 * Makes a machine: it slows down all the time, another program comes and goes, calls vary, some take far longer, and the second
 * call of a pair finds warm caches.
 */
function machine(): (factor: number) => number {
  let call = 0, busy = 1;
  return (factor) => {
    if (uniform() < 0.05) busy = busy === 1 ? 1.8 : 1;
    const drift = 1 + 0.003 * call;
    const order = call++ % 2 === 0 ? 1.02 : 1;
    const outlier = uniform() < 0.03 ? 5 : 1;
    return 10 * factor * drift * busy * order * outlier * Math.exp(0.05 * normal());
  };
}

async function run(factorB: number, pairs: number) {
  const time = machine();
  const call = (factor: number) => () => {
    const milliseconds = time(factor);
    return Promise.resolve({ milliseconds, wallMilliseconds: milliseconds, hostMilliseconds: null });
  };
  const stop = { minTimeMs: 0, maxNoise: 0.02, timeoutMs: 3000 };
  return ratioOf(await callInTurn(call(1), call(factorB), pairs, stop));
}

for (const pairs of [6, 20]) {
  Deno.test(`ratioOf(): the interval of a call against itself contains 1 in at least 93 % of the runs, from ${pairs} pairs`, async () => {
    let held = 0;
    for (let trial = 0; trial < 1000; trial++) {
      const { ratioInterval } = await run(1, pairs);
      if (ratioInterval && ratioInterval[0] <= 1 && ratioInterval[1] >= 1) held += 1;
    }
    assert(held >= 930, `${held} of 1000`);
  });
}

Deno.test("ratioOf() finds a change of 10 % under a load that changes by 80 %", async () => {
  let found = 0;
  for (let trial = 0; trial < 200; trial++) {
    const { ratio, ratioInterval } = await run(1.1, 20);
    assertAlmostEquals(ratio, 1.1, 0.1);
    if (ratioInterval && ratioInterval[0] > 1) found += 1;
  }
  assert(found >= 190, `${found} of 200`);
});

Deno.test("callInTurn() changes the order from pair to pair, and ends at the timeout", async () => {
  const order: string[] = [];
  const call = (name: string) => () => {
    order.push(name);
    return Promise.resolve({ milliseconds: 10 + order.length % 3, wallMilliseconds: 10, hostMilliseconds: null });
  };
  const { a, b, converged } = await callInTurn(call("a"), call("b"), 2, {
    ...{ minTimeMs: 0, maxNoise: 0, timeoutMs: 60 },
  });
  assertEquals([order.join(""), a.length, b.length, converged], ["abbaab", 3, 3, false]);
});

Deno.test("ratioOf() knows no interval below 6 pairs", () => {
  const times = (values: number[]) =>
    values.map((milliseconds) => ({ milliseconds, wallMilliseconds: milliseconds, hostMilliseconds: null }));
  const { ratio, ratioInterval } = ratioOf({ a: times([1, 2, 4]), b: times([2, 4, 8]) });
  assertAlmostEquals(ratio, 2, 1e-12);
  assertEquals(ratioInterval, null);
});
