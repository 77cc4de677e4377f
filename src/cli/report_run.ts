// What `yamoe report` does.
import type { SourcedRecord } from "../report/page/dataset.ts";
import { exitCode, printNote } from "./command.ts";
import { UsageError } from "./flags.ts";
import { readRecords } from "./read_records.ts";
import type { chartNames } from "./report.ts";
import { checkWritable, replaceFile } from "./whole_file.ts";

/** What the command line said. */
interface ReportValues {
  output?: string;
  chart?: typeof chartNames[number];
}

/** Runs the command. */
export async function run({ output, chart }: ReportValues, operands: readonly string[]): Promise<number> {
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
