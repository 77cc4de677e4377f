import type { SourcedRecord } from "../report/page/dataset.ts";
import { command, exitCode, printNote } from "./command.ts";
import { choice, file, UsageError } from "./flags.ts";
import { readRecords } from "./read_records.ts";
import { checkWritable, replaceFile } from "./whole_file.ts";

/** The charts that a picture can be of. */
export const chartNames = ["time", "memory", "improvement", "tflops", "tokens", "roofline", "load"] as const;

export default command({
  flags: {
    output: { ...file("FILE", "Where to: .html for a page, .svg for one chart; needed"), short: "o" },
    chart: choice("NAME", `The chart of an .svg: ${chartNames.join(", ")} (default: time)`, chartNames),
  },
  operands: "RUNS...",
  examples: {
    "yamoe report runs.json -o report.html": "One self-contained page, light or dark as the reader's system is",
    "yamoe report before.json after.json -o report.html": "Two files as two series, the second against the first",
    "yamoe report runs.json -o roofline.svg --chart roofline": "A picture for a document",
  },
  details: [
    "The files are what yamoe bench wrote with --output FILE.json or .jsonl, or printed with --json. The first size that",
    "varies, batch before seq before the rest, lies along the axis; everything else that varies makes series.",
  ],
  run,
});

/** What the command line said. */
interface ReportValues {
  output?: string;
  chart?: typeof chartNames[number];
}

/** Runs the command. */
async function run({ output, chart }: ReportValues, operands: readonly string[]): Promise<number> {
  if (operands.length === 0) throw new UsageError("yamoe report takes files of records, got none");
  if (output === undefined) throw new UsageError("yamoe report needs --output FILE, ending in .html or .svg");
  const kind = output.match(/\.(html|svg)$/)?.[1];
  if (!kind) throw new UsageError(`--output must end in .html or .svg, got "${output}"`);
  if (chart && kind === "html") throw new UsageError(`--chart is for an .svg, got --output "${output}"`);
  const records = (await Promise.all(operands.map(sourced))).flat();
  checkWritable(output);
  const text = kind === "html"
    ? (await import("../report/page/html.ts")).page(records)
    : (await import("../report/page/picture.ts")).picture(chart ?? "time", records);
  replaceFile(output, text);
  printNote(`Wrote ${output}`);
  return exitCode.done;
}

async function sourced(path: string): Promise<SourcedRecord[]> {
  const source = path.split(/[\\/]/).at(-1)!.replace(/\.[^.]+$/, "");
  return (await readRecords(path)).map((record) => ({ ...record, source }));
}
