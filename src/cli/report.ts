import type { SourcedRecord } from "../report/page/dataset.ts";
import { command, exitCode, printNote } from "./command.ts";
import { choice, file } from "./flags.ts";
import { onInterrupt } from "./interrupt.ts";
import { readRecords } from "./read_records.ts";
import { UsageError } from "./usage_error.ts";
import { checkWritable, replaceFile } from "./whole_file.ts";

/** The charts that an SVG file can show. They are listed here so that help does not load the library that draws them. */
const chartNames = [
  "time",
  "memory",
  "improvement",
  "tflops",
  "tokens",
  "roofline",
  "scaling",
  "efficiency",
  "kernels",
  "load",
] as const;

export default command({
  flags: {
    output: { ...file("FILE", "File to write, required: .html for a page, .svg for one chart"), short: "o" },
    chart: choice("NAME", "Chart of an .svg file (default: time)", chartNames),
  },
  operands: "RUNS...",
  examples: {
    "yamoe report runs.json -o report.html": "A self-contained page in the light or dark theme of the reader's system",
    "yamoe report before.json after.json -o report.html": "Two files as two series, the second compared with the first",
    "yamoe report runs.json -o roofline.svg --chart roofline": "A picture for a document",
  },
  details: [
    "The files are what yamoe bench writes with --output FILE.json or .jsonl, or prints with --json. The first size that " +
    "varies, batch before seq before the others, is the axis of the charts. Everything else that varies makes series.",
  ],
  async run({ output, chart }, operands) {
    if (operands.length === 0) throw new UsageError("yamoe report needs files of records, got none");
    if (output === undefined) throw new UsageError("yamoe report needs --output FILE, ending in .html or .svg");
    const kind = output.match(/\.(html|svg)$/)?.[1];
    if (!kind) throw new UsageError(`--output must end in .html or .svg, got "${output}"`);
    if (chart && kind === "html") throw new UsageError(`--chart is for an .svg file, got --output "${output}"`);
    const names = sourceNames(operands);
    const records = (await Promise.all(operands.map((path, i) => sourced(path, names[i] ?? path)))).flat();
    checkWritable(output);
    onInterrupt(() => {}); // a signal waits until the file is complete
    replaceFile(output, await draw(kind, chart, records));
    printNote(`Wrote ${output}`);
    return exitCode.done;
  },
});

async function draw(
  kind: string,
  chart: typeof chartNames[number] = "time",
  records: readonly SourcedRecord[],
): Promise<string> {
  if (kind === "html") return (await import("../report/page/html.ts")).page(records);
  const { picture } = await import("../report/page/picture.ts");
  try {
    return picture(chart, records);
  } catch (error) {
    throw error instanceof RangeError ? new UsageError(error.message) : error;
  }
}

async function sourced(path: string, source: string): Promise<SourcedRecord[]> {
  return (await readRecords(path)).map((record) => ({ ...record, source }));
}

/** Returns what the page calls each file: its name without folders and extension, or its path if two names are equal. */
function sourceNames(paths: readonly string[]): string[] {
  const short = paths.map((path) =>
    path.slice(Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1).replace(/(.)\.[^.]+$/, "$1")
  );
  return short.map((name, i) => short.filter((other) => other === name).length > 1 ? paths[i] ?? name : name);
}
