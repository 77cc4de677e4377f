import { green, red, yellow } from "@std/fmt/colors";
import { compare, type Comparison, jobDifferences, type Verdict, verdicts } from "../bench/compare.ts";
import { distinguishingKeys } from "../bench/configuration.ts";
import { type BenchRecord, configurationKeys, figureKeys, figures } from "../bench/figures.ts";
import { digits, figureColumns } from "../report/columns.ts";
import { toJson } from "../report/json.ts";
import { markdownTable } from "../report/markdown.ts";
import { type Column, textTable } from "../report/table.ts";
import { command, exitCode, outputWidth, printData, printNote } from "./command.ts";
import { axis, choice, positive } from "./flags.ts";
import { readRecords } from "./read_records.ts";
import { showsColors } from "./terminal.ts";
import { UsageError } from "./usage_error.ts";

export default command({
  flags: {
    threshold: positive("PERCENT", "Change that still counts as the same (default: 1)"),
    "fail-on": axis(choice("VERDICT", "Exit with 1 if a configuration has this verdict", verdicts)),
    format: choice("NAME", "Format of the table (default: text)", ["text", "markdown", "json"] as const),
  },
  operands: "BEFORE AFTER",
  examples: {
    "yamoe compare before.json after.json": "The effect of a change on every configuration that both files have",
    "yamoe compare main.json branch.json --fail-on slower,missing": "In CI: exit with 1 if something became slower",
    "yamoe compare cpu.json gpu.json --format markdown": "A table for a page",
  },
  details: [
    "The files are what yamoe bench writes with --output FILE.json or .jsonl, or prints with --json. Every change has a " +
    "range, computed from the 95 % intervals of both medians. If the whole range is below 0, the verdict is faster; above " +
    "0, slower; within the threshold, same. The verdict is unclear if the range contains 0, if one of the files has fewer " +
    "than 6 calls, or if a hint of a record says that its time is unreliable. A configuration that did not run in one of " +
    "the files is missing.",
  ],
  async run({ threshold = 1, "fail-on": failOn = [], format = "text" }, operands) {
    const [beforePath, afterPath] = operands;
    if (beforePath === undefined || afterPath === undefined || operands.length > 2) {
      throw new UsageError(`yamoe compare needs two files, got ${operands.length}`);
    }
    const [before, after] = await Promise.all([readRecords(beforePath), readRecords(afterPath)]);
    const comparisons = compare(before, after, threshold / 100);
    print(comparisons, format);
    for (const difference of differences(before, after)) printNote(`The files differ in ${difference}`);
    for (const difference of jobDifferences(before, after)) {
      printNote(
        difference.includes("not recorded")
          ? `Not compared, because one file does not record it: ${difference}`
          : `No configuration of one file is in the other, because they differ in ${difference}`,
      );
    }
    printNote(
      verdicts.map((verdict) => [verdict, comparisons.filter((one) => one.verdict === verdict).length] as const)
        .filter(([, count]) => count > 0).map(([verdict, count]) => `${count} ${verdict}`).join(", "),
    );
    if (comparisons.some(({ sameOutput }) => sameOutput === false)) {
      printNote("Some outputs differ: those jobs do not compute the same");
    }
    return comparisons.some(({ verdict }) => failOn.includes(verdict)) ? exitCode.failed : exitCode.done;
  },
});

function print(comparisons: readonly Comparison[], format: "text" | "markdown" | "json"): void {
  const table = columns(comparisons.map(({ record }) => record));
  if (format === "json") printData(toJson(comparisons.map(plain)));
  else if (format === "markdown") markdownTable(table, comparisons).forEach(printData);
  else {
    const paint = showsColors(Deno.stdout);
    textTable(table, comparisons, outputWidth()).forEach((line) => printData(paint ? colored(line) : line));
  }
}

const percent = (ratio: number) => `${ratio >= 1 ? "+" : "-"}${Math.abs(100 * (ratio - 1)).toFixed(1)} %`;
const milliseconds = (value: number | null) => value === null ? "-" : digits(value);

/** Returns the columns of the comparisons: of the configuration, only figures that distinguish the rows. */
function columns(records: readonly BenchRecord[]): Column<Comparison>[] {
  const varying = distinguishingKeys(records, configurationKeys);
  return [
    ...figureColumns(["batch", "seq", ...varying]).map(({ text, ...column }) => ({
      ...column,
      text: ({ record }: Comparison) => text(record),
    })),
    { title: "before ms", rank: 2, text: ({ beforeMs }) => milliseconds(beforeMs) },
    { title: "after ms", rank: 1, text: ({ afterMs }) => milliseconds(afterMs) },
    { title: "change", text: ({ ratio }) => ratio === null ? "-" : percent(ratio) },
    {
      title: "range",
      rank: 3,
      text: ({ ratioInterval }) => ratioInterval ? `${percent(ratioInterval[0])} to ${percent(ratioInterval[1])}` : "-",
    },
    {
      title: "verdict",
      align: "left",
      text: ({ verdict, sameOutput }) => `${verdict}${sameOutput === false ? ", another output" : ""}`,
    },
    { title: "reason", align: "left", note: true, text: ({ reason }) => reason ?? "" },
  ];
}

function plain({ record, ...comparison }: Comparison): unknown {
  return { ...Object.fromEntries(configurationKeys.map((key) => [key, record[key]])), ...comparison };
}

function colored(line: string): string {
  const verdict = line.match(/ (faster|slower|unclear|missing)(, another output)?$/)?.[1] as Verdict | undefined;
  if (verdict === "faster") return green(line);
  if (verdict === "slower") return red(line);
  return verdict ? yellow(line) : line;
}

/** Returns the circumstances in which the files differ. */
function differences(before: readonly BenchRecord[], after: readonly BenchRecord[]): string[] {
  return figureKeys.filter((key) => figures[key].mustAgree).flatMap((key) => {
    const [a, b] = [before, after].map((records) =>
      [...new Set(records.map((record) => record[key] ?? null).filter((value) => value !== null))].join(", ")
    );
    return a === b || !a || !b ? [] : [`${key}: ${a}; ${b}`];
  });
}
