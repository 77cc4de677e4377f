// How often compare() is wrong, on times drawn from known distributions.
import { assert, assertEquals } from "@std/assert";
import { compare, type Verdict } from "../src/bench/compare.ts";
import { record } from "./records.ts";

/** Makes a generator of uniform numbers in (0, 1] that repeats for every seed. */
function uniformGenerator(seed: bigint): () => number {
  let state = seed;
  return () => {
    state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn;
    return (Number(state >> 11n) + 1) / 2 ** 53;
  };
}

const uniform = uniformGenerator(2026n);
const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());

/** Distributions of times about 10 ms: symmetric noise, and the long tail that a busy machine makes. */
const distributions: Record<string, () => number> = {
  "normal, 5 % spread": () => 10 * (1 + 0.05 * normal()),
  "log-normal, 50 % spread": () => 10 * Math.exp(0.5 * normal()),
  "exponential tail": () => 10 - Math.log(uniform()),
};

const base = record([10]), pairs = 1000;

/** Judges one pair of series. */
function verdictOf(before: number[], after: number[]): Verdict {
  const [comparison] = compare(
    [{ ...base, kernelTimesMs: before, hints: [] }],
    [{ ...base, kernelTimesMs: after, hints: [] }],
    0.01,
  );
  assert(comparison);
  return comparison.verdict;
}

for (const [name, draw] of Object.entries(distributions)) {
  for (const count of [2, 3, 5, 6, 10, 30]) {
    Deno.test(`compare() finds at most 5 % false changes in ${count} and ${count} calls (${name})`, () => {
      const series = () => Array.from({ length: count }, draw);
      let wrong = 0;
      for (let pair = 0; pair < pairs; pair++) {
        if (["faster", "slower"].includes(verdictOf(series(), series()))) wrong += 1;
      }
      assert(wrong <= (count < 6 ? 0 : 0.05 * pairs), `${wrong} of ${pairs} verdicts are wrong`);
    });
  }
}

Deno.test("compare() finds a change of 10 % in 30 calls with 5 % spread in at least 95 % of the pairs", () => {
  const series = (center: number) => Array.from({ length: 30 }, () => center * (1 + 0.05 * normal()));
  const found = { slower: 0, faster: 0 };
  for (let pair = 0; pair < pairs; pair++) {
    if (verdictOf(series(10), series(11)) === "slower") found.slower += 1;
    if (verdictOf(series(11), series(10)) === "faster") found.faster += 1;
  }
  assert(found.slower >= 0.95 * pairs && found.faster >= 0.95 * pairs, JSON.stringify(found));
});

Deno.test("compare() finds every large change unclear if there are fewer than 6 calls", () => {
  for (const count of [1, 2, 3, 4, 5]) {
    assertEquals(verdictOf(Array(count).fill(10), Array(30).fill(20)), "unclear");
    assertEquals(verdictOf(Array(30).fill(10), Array(count).fill(20)), "unclear");
  }
  assertEquals(verdictOf(Array(6).fill(10), Array(6).fill(20)), "slower");
});
