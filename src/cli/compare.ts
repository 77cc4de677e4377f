import { green, red, yellow } from "@std/fmt/colors";
import { compare, type Comparison, type Verdict, verdicts } from "../bench/compare.ts";
import type { BenchRecord } from "../bench/record.ts";
import { digits, identityColumns } from "../report/columns.ts";
import { toJson } from "../report/json.ts";
import { markdownTable } from "../report/markdown.ts";
import { type Column, textTable } from "../report/table.ts";
import { command, exitCode, printData, printNote } from "./command.ts";
import { axis, choice, positive, UsageError } from "./flags.ts";
import { readRecords } from "./read_records.ts";

const flags = {
  threshold: positive("PERCENT", "Change that still counts as none (default: 1)"),
  "fail-on": axis(choice("VERDICT", `End with 1 if there is one such: ${verdicts.join(", ")}`, verdicts)),
  format: choice("NAME", "Print text, markdown or json (default: text)", ["text", "markdown", "json"] as const),
};

export default command({
  flags,
  operands: "BEFORE AFTER",
  examples: {
    "yamoe compare before.json after.json": "What a change did to every configuration that both files have",
    "yamoe compare main.json branch.json --fail-on slower,missing": "In CI: end with 1 where something became slower",
    "yamoe compare cpu.json gpu.json --format markdown": "A table for a page",
  },
  details: [
    "The files are what yamoe bench wrote with --output FILE.json or .jsonl, or printed with --json. Each change has a range,",
    "from the 95 % intervals of both medians: all of it below 0 is faster, all above slower, a change within the threshold same,",
    "anything else unclear, and so is whatever ran only once. A configuration that only one file has is missing.",
  ],
  run,
});

/** What the command line said. */
interface CompareValues {
  threshold?: number;
  "fail-on"?: Verdict[];
  format?: "text" | "markdown" | "json";
}

/** Runs the command. */
async function run(
  { threshold = 1, "fail-on": failOn = [], format = "text" }: CompareValues,
  operands: readonly string[],
): Promise<number> {
  const [beforePath, afterPath] = operands;
  if (beforePath === undefined || afterPath === undefined || operands.length > 2) {
    throw new UsageError(`yamoe compare takes two files, got ${operands.length}`);
  }
  const [before, after] = await Promise.all([readRecords(beforePath), readRecords(afterPath)]);
  const comparisons = compare(before, after, threshold / 100);
  if (format === "json") printData(toJson(comparisons.map(plain)));
  else {
    const table = format === "text" ? textTable : markdownTable;
    const lines = table(columns(comparisons.map(({ record }) => record)), comparisons);
    const paint = format === "text" && Deno.stdout.isTerminal() && !Deno.noColor;
    lines.forEach((line, i) => printData(paint && i > 0 ? colored(comparisons[i - 1]!.verdict, line) : line));
  }
  for (const difference of differences(before, after)) printNote(`The files differ in ${difference}`);
  const counts = verdicts.map((verdict) =>
    [verdict, comparisons.filter((one) => one.verdict === verdict).length] as const
  );
  printNote(counts.filter(([, count]) => count > 0).map(([verdict, count]) => `${count} ${verdict}`).join(", "));
  if (comparisons.some(({ sameOutput }) => sameOutput === false)) {
    printNote("Outputs differ: those jobs do not compute the same");
  }
  return comparisons.some(({ verdict }) => failOn.includes(verdict)) ? exitCode.failed : exitCode.done;
}

const percent = (ratio: number) => `${ratio >= 1 ? "+" : "-"}${Math.abs(100 * (ratio - 1)).toFixed(1)} %`;
const milliseconds = (value: number | null) => value === null ? "-" : digits(value);

/** A comparison's columns; of what makes a configuration, those that differ. */
function columns(records: readonly BenchRecord[]): Column<Comparison>[] {
  const keys = [
    ...[
      "preset",
      "hidden",
      "intermediate",
      "experts",
      "topK",
      "capacity",
      "dtype",
      "seed",
      "backend",
      "threads",
    ] as const,
  ];
  const varying = keys.filter((key) => new Set(records.map((record) => record[key])).size > 1);
  return [
    ...identityColumns(["batch", "seq", ...varying]).map(({ text, ...column }) => ({
      ...column,
      text: ({ record }: Comparison) => text(record),
    })),
    { title: "before ms", text: ({ beforeMs }) => milliseconds(beforeMs) },
    { title: "after ms", text: ({ afterMs }) => milliseconds(afterMs) },
    { title: "change", text: ({ ratio }) => ratio === null ? "-" : percent(ratio) },
    {
      title: "range",
      text: ({ ratioInterval }) => ratioInterval ? `${percent(ratioInterval[0])} to ${percent(ratioInterval[1])}` : "-",
    },
    {
      title: "verdict",
      align: "left",
      text: ({ verdict, sameOutput }) => `${verdict}${sameOutput === false ? ", another output" : ""}`,
    },
  ];
}

function plain({ record, ...comparison }: Comparison): unknown {
  const { preset, batch, seq, hidden, intermediate, experts, topK, capacity, dtype, seed, backend } = record;
  return { preset, batch, seq, hidden, intermediate, experts, topK, capacity, dtype, seed, backend, ...comparison };
}

function colored(verdict: Verdict, text: string): string {
  if (verdict === "faster") return green(text);
  if (verdict === "slower") return red(text);
  return verdict === "same" ? text : yellow(text);
}

/** What of the circumstances is not the same in both files. */
function differences(before: readonly BenchRecord[], after: readonly BenchRecord[]): string[] {
  const keys = ["backend", "device", "threads", "cpu", "denoVersion", "driver"] as const;
  return keys.flatMap((key) => {
    const [a, b] = [before, after].map((records) =>
      [...new Set(records.map((record) => record[key]).filter((value) => value !== null))].join(", ")
    );
    return a === b || !a || !b ? [] : [`${key}: ${a}; ${b}`];
  });
}
