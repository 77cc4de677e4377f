import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import fc from "./fast_check.ts";
import { summarize } from "../src/statistics.ts";

Deno.test("summarize() does not know the noise of one value", () => {
  const { count, median, mean, min, max, mad, iqr, interval, noise, outliers, drift } = summarize([3]);
  assertEquals({ count, median, mean, min, max, mad, iqr, interval, noise, outliers, drift }, {
    count: 1,
    median: 3,
    mean: 3,
    min: 3,
    max: 3,
    mad: 0,
    iqr: 0,
    interval: null,
    noise: null,
    outliers: 0,
    drift: null,
  });
});

Deno.test("summarize() computes the same quantiles as numpy, and no interval below 6 values", () => {
  const { median, iqr, mad, interval, noise } = summarize([4, 1, 3, 2]);
  assertEquals({ median, iqr, mad, interval, noise }, { median: 2.5, iqr: 1.5, mad: 1, interval: null, noise: null });
});

Deno.test("summarize() counts outliers, which do not change the median", () => {
  const values = [10, 10.1, 9.9, 10.05, 9.95, 10.02, 9.98, 90, 10.01, 9.99];
  const { median, outliers } = summarize(values);
  assertEquals(outliers, 1);
  assertAlmostEquals(median, 10.005, 1e-12);
});

Deno.test("summarize() measures the drift of calls that become slower", () => {
  const { drift } = summarize([10, 10, 10, 10, 10, 11, 12, 12, 12, 12, 12]);
  assertAlmostEquals(drift!, 0.2, 1e-12);
});

Deno.test("summarize(): the interval contains the true median in at least 95 % of the cases, for every distribution", () => {
  // A linear congruential generator: the same draws every time.
  let state = 1n;
  const uniform = () => {
    state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn;
    return Number(state >> 11n) / 2 ** 53;
  };
  const distributions = { exponential: [() => -Math.log(1 - uniform()), Math.LN2], uniform: [uniform, 0.5] } as const;
  for (const [draw, median] of Object.values(distributions)) {
    for (const count of [6, 7, 9, 10, 15, 30, 40, 200]) {
      let held = 0;
      for (let trial = 0; trial < 4000; trial++) {
        const [low, high] = summarize(Array.from({ length: count }, draw)).interval!;
        if (low <= median && median <= high) held += 1;
      }
      assert(held >= 3760, `${held} of 4000 at ${count} values`);
    }
  }
});

Deno.test("summarize() keeps its figures in order, scales with the values and ignores their order", () => {
  const times = fc.array(fc.double({ min: 1e-6, max: 1e6, noNaN: true }), { minLength: 2, maxLength: 60 });
  fc.assert(fc.property(times, (values) => {
    const { min, max, median, interval, noise } = summarize(values);
    assertEquals([interval === null, noise === null], [values.length < 6, values.length < 6]);
    const [low, high] = interval ?? [min, max];
    assert(min <= low && low <= median && median <= high && high <= max);
    const reversed = summarize(values.toReversed());
    assertEquals([reversed.median, reversed.interval, reversed.outliers], [
      median,
      interval,
      summarize(values).outliers,
    ]);
    assertEquals(summarize(values.map((value) => 2 * value)).median, 2 * median);
  }));
});

Deno.test("summarize() refuses what has no median, and names the element", () => {
  const refused: readonly (readonly [unknown, typeof RangeError | typeof TypeError, string])[] = [
    [[], RangeError, "values must hold at least one measurement, got none"],
    [[NaN, 1], RangeError, "values must hold finite numbers, got NaN at element 0"],
    [[1, NaN], RangeError, "values must hold finite numbers, got NaN at element 1"],
    [[1, 2, Infinity], RangeError, "values must hold finite numbers, got Infinity at element 2"],
    [[-Infinity], RangeError, "values must hold finite numbers, got -Infinity at element 0"],
    [[1, "2"], TypeError, 'values must hold finite numbers, got "2" at element 1'],
    [[null], TypeError, "values must hold finite numbers, got null at element 0"],
    [new Array(1), TypeError, "values must hold finite numbers, got undefined at element 0"],
    [undefined, TypeError, "values must be an array of numbers, got undefined"],
    ["12", TypeError, 'values must be an array of numbers, got "12"'],
  ];
  for (const [values, error, message] of refused) {
    assertEquals(assertThrows(() => summarize(values as number[]), error).message, message);
  }
});

Deno.test("summarize() does not divide by a median of 0", () => {
  const { median, noise, drift } = summarize([0, 0, 0, 0, 0, 0, 0, 0]);
  assertEquals({ median, noise, drift }, { median: 0, noise: null, drift: null });
  assertEquals(summarize([0, 0, 0, 0, 1, 1, 1, 1]).drift, null);
  assertEquals(summarize([1, 1, 1, 1, 0, 0, 0, 0]).drift, -1);
});
