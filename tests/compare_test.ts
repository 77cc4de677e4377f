import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { compare, type Verdict } from "../src/bench/compare.ts";
import { parseRecords } from "../src/report/read.ts";
import { toJson } from "../src/report/json.ts";
import { failure, record } from "./records.ts";

/** Encodes the content of a file. */
function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Twenty times about a middle, the outermost `spread` away. */
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

Deno.test("compare() is the other way round the other way round", () => {
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

Deno.test("compare() matches configurations, joins repeated runs, and names what one file lacks", () => {
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

Deno.test("compare() looks at the place only where a file has several", () => {
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

Deno.test("compare() sees outputs of another job", () => {
  const [comparison] = compare([record([1, 1])], [record([1, 1], {}, { outputSum: 1.02 })], 0.01);
  assertEquals(comparison!.sameOutput, false);
  assertEquals(compare([record([1, 1])], [record([1, 1], {}, { outputSum: 1.005 })], 0.01)[0]!.sameOutput, true);
});

Deno.test("parseRecords() reads arrays, single objects and lines, and refuses the rest", () => {
  const two = [record([1, 2]), failure("no", { batch: 3 })];
  assertEquals(parseRecords(bytes(toJson(two)), "a"), two);
  assertEquals(parseRecords(bytes(two.map(toJson).join("\n") + "\n"), "a"), two);
  assertEquals(parseRecords(bytes(toJson(two[0])), "a"), [two[0]!]);
  for (
    const text of ["", "[]", "batch,seq\n1,2\n", "{}", '[{"batch":1}]', "null", toJson({ ...two[0], kernelTimesMs: 3 })]
  ) {
    assertThrows(() => parseRecords(bytes(text), "some.json"), SyntaxError, "Cannot read some.json: it");
  }
});
