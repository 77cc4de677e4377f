import { assertAlmostEquals, assertEquals } from "@std/assert";
import { compare, type Verdict } from "../src/bench/compare.ts";
import { parseRecords } from "../src/report/read.ts";
import { toJson } from "../src/report/json.ts";
import type { BenchRecord } from "../src/bench/figures.ts";
import { failure, record } from "./records.ts";

/** Returns twenty times around a center. The outermost differ from it by `spread`. */
function around(middle: number, spread: number): number[] {
  return Array.from({ length: 20 }, (_, i) => middle * (1 + spread * (i - 9.5) / 9.5));
}

const cases: [before: number[], after: number[], threshold: number, verdict: Verdict][] = [
  [around(10, 0.005), around(10, 0.005), 0.01, "same"],
  [around(10, 0.01), around(12, 0.01), 0.01, "slower"],
  [around(10, 0.01), around(8, 0.01), 0.01, "faster"],
  [around(10, 0.3), around(10.5, 0.3), 0.01, "unclear"],
  [around(10, 0.001), around(10.2, 0.001), 0.05, "same"],
  [around(10, 0.001), around(10.2, 0.001), 0.01, "slower"],
  [[10], [20], 0.01, "unclear"],
  [[10], around(20, 0.01), 0.01, "unclear"],
];

for (const [before, after, threshold, verdict] of cases) {
  Deno.test(`compare() calls ${before[0]} to ${after[0]} of ${before.length} ${verdict} at ${threshold}`, () => {
    const [comparison, ...others] = compare([record(before)], [record(after)], threshold);
    assertEquals([comparison!.verdict, others], [verdict, []]);
  });
}

Deno.test("compare() gives the opposite verdict for swapped files", () => {
  const opposite = {
    faster: "slower",
    slower: "faster",
    same: "same",
    unclear: "unclear",
    missing: "missing",
  } as const;
  for (const [before, after, threshold, verdict] of cases) {
    assertEquals(compare([record(after)], [record(before)], threshold)[0]!.verdict, opposite[verdict]);
  }
});

Deno.test("compare() matches configurations, joins repeated runs, and reports what one file lacks", () => {
  const before = [record([10, 11, 10], { batch: 1 }), record([10, 11, 11], { batch: 1 }), record([5, 5], { batch: 2 })];
  const after = [
    record([20, 22, 20, 22, 20, 22], { batch: 1 }),
    failure("out of memory", { batch: 2 }),
    record([1, 1], { batch: 4 }),
  ];
  const comparisons = compare(before, after, 0.01);
  assertEquals(comparisons.map(({ record, verdict }) => [record.batch, verdict]), [
    [1, "slower"],
    [2, "missing"],
    [4, "missing"],
  ]);
  assertAlmostEquals(comparisons[0]!.ratio!, 2, 1e-12);
  assertEquals(comparisons[0]!.ratioInterval, [20 / 11, 22 / 10]);
  assertEquals([comparisons[1]!.beforeMs, comparisons[1]!.afterMs], [5, null]);
});

Deno.test("compare() distinguishes places only if a file has several", () => {
  const gpu = { backend: "cuda", device: "A GPU" };
  assertEquals(
    compare([record(around(10, 0.01))], [record(around(1, 0.01), {}, gpu)], 0.01).map((one) => one.verdict),
    [
      "faster",
    ],
  );
  const both = [record(around(10, 0.005)), record(around(1, 0.005), {}, gpu)];
  assertEquals(compare(both, both, 0.01).map((one) => one.verdict), ["same", "same"]);
});

Deno.test("compare() detects outputs of another job", () => {
  const [comparison] = compare([record([1, 1])], [record([1, 1], {}, { outputSum: 1.02 })], 0.01);
  assertEquals(comparison!.sameOutput, false);
  assertEquals(compare([record([1, 1])], [record([1, 1], {}, { outputSum: 1.005 })], 0.01)[0]!.sameOutput, true);
});

Deno.test("compare() finds a change unclear if a record says that its time is unreliable", () => {
  const before = record(around(10, 0.01)), after = record(around(20, 0.01));
  const hints = {
    "not converged: the time was enough for 6 calls; raise --timeout": "not converged",
    "slowing down: calls became 8.0 % slower; let the CPU cool": "slowing down",
    "busy machine: other programs took a CPU from this one 500 times per second; run it alone": "busy machine",
  };
  assertEquals(compare([before], [after], 0.01)[0]?.verdict, "slower");
  for (const [hint, reason] of Object.entries(hints)) {
    for (
      const [a, b] of [[before, { ...after, hints: [hint] }], [{ ...before, hints: [hint] }, after]] as [
        BenchRecord,
        BenchRecord,
      ][]
    ) {
      const [comparison] = compare([a], [b], 0.01);
      assertEquals([comparison?.verdict, comparison?.reason], ["unclear", reason]);
    }
  }
  for (
    const [figures, reason] of [[{ converged: false }, "not converged"], [{ drift: 0.2 }, "slowing down"]] as const
  ) {
    const [comparison] = compare([before], [{ ...after, ...figures }], 0.01);
    assertEquals([comparison?.verdict, comparison?.reason], ["unclear", reason]);
  }
  const harmless = { ...after, hints: ["slow first call: it took 2.0 times the median; use --warmup 2"] };
  assertEquals(compare([before], [harmless], 0.01)[0]?.verdict, "slower");
});

Deno.test("compare() never pools rows of different engines", () => {
  const rows = [
    record(around(10, 0.01), {}, { engine: "OpenBLAS 0.3.21" }),
    record(around(40, 0.01), {}, { engine: "WebAssembly" }),
  ];
  const comparisons = compare(rows, rows.toReversed(), 0.01);
  assertEquals(comparisons.map(({ record, verdict, beforeMs }) => [record.engine, verdict, beforeMs]), [
    ["OpenBLAS 0.3.21", "same", 10],
    ["WebAssembly", "same", 40],
  ]);
});

Deno.test("compare() ignores figures that an older version did not write", () => {
  const { activation: _, biases: __, router: ___, ...old } = record(around(10, 0.005));
  const [read] = parseRecords(new TextEncoder().encode(toJson(old)), "old.json");
  const comparisons = compare([read as BenchRecord], [record(around(10, 0.005))], 0.01);
  assertEquals(comparisons.map(({ verdict }) => verdict), ["same"]);
});
