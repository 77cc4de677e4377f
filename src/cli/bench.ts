import { runAgainst, type Running } from "../bench/against.ts";
import { type BenchRecord, columnOf, type FigureKey, figureKeys } from "../bench/figures.ts";
import { type Provenance, provenance } from "../bench/provenance.ts";
import { externalRecord, failedRecord, type FinishedRecord } from "../bench/record.ts";
import { type Configuration, Runner, sweep } from "../bench/sweep.ts";
import { advice, shortHint } from "../bench/hints.ts";
import { formatNames } from "../report/format.ts";
import { toJson } from "../report/json.ts";
import { describeJob, runNotes, threeLines } from "../report/text.ts";
import { wrap } from "../report/wrap.ts";
import { plural } from "../text.ts";
import { version } from "../version.ts";
import type { Placement } from "../world/launcher.ts";
import type { Job } from "../workload/workload.ts";
import { describePlace, measurement } from "./bench_measurement.ts";
import { runAb } from "./bench_ab.ts";
import { RankRunner } from "./bench_gpus.ts";
import { planLayout, printPlan } from "./bench_plan.ts";
import { checkOutput, configurations, sweptFlags } from "./bench_configurations.ts";
import { command, exitCode, outputWidth, printData, printNote } from "./command.ts";
import {
  axis,
  choice,
  ExpectationError,
  file,
  type Flag,
  type FlagValues,
  integer,
  positive,
  text,
  toggle,
} from "./flags.ts";
import { jobProblem } from "./free_memory.ts";
import { onInterrupt } from "./interrupt.ts";
import { backendFromFlags } from "./job_flags.ts";
import { profileTable } from "./profile_table.ts";
import { ProgressBar } from "./progress.ts";
import { RecordOutput } from "./record_output.ts";
import { failRank, ncclFlag, openRank, partOfProcess, prepareRank } from "./several_gpus.ts";
import { suggestion } from "./suggestion.ts";
import { asUsage, UsageError } from "./usage_error.ts";

const flags = {
  ...sweptFlags,
  warmup: integer(
    "N",
    "Calls before the timed ones (default: until two in a row agree)",
    0,
    1_000_000,
  ),
  iters: integer("N", "Timed calls, or their minimum number (default: 1; in a sweep 6)", 1, 1_000_000),
  "min-time": positive("SECONDS", "Minimum time of the timed calls (default in a sweep: 0.2)"),
  "max-noise": positive("PERCENT", "Repeat calls until the noise is at most this (default in a sweep: 1)"),
  timeout: positive("SECONDS", "Maximum time of the timed calls (default in a sweep: 3)"),
  "no-verify": toggle("Do not check the output against float64 before the timed calls"),
  profile: toggle("Also measure each kernel of a call, and print a table; needs a GPU"),
  format: choice("NAME", "Format of the records on standard output", formatNames),
  json: toggle("Print the record as a JSON object instead of three lines; in a sweep, an array of records"),
  columns: axis(figureName("NAMES", "Figures to show in text, Markdown, CSV and SQL, by their names in JSON")),
  samples: toggle("Write the time of every call in CSV and SQL, too"),
  output: { ...file("FILE", "File to write the records to, in the format of its extension"), short: "o" },
  against: text("COMMAND", "Also run a program that prints the three lines; {batch}, {seq} and so on become the sizes"),
  "against-timeout": positive("SECONDS", "Maximum time of that program (default: 600)"),
  ab: {
    ...text('"FLAGS A" "FLAGS B"', "Run two configurations in turn, call by call, and print the ratio of their times"),
    arity: 2,
  },
  nccl: ncclFlag,
  "dry-run": toggle("Print the configurations without running them"),
  quiet: toggle("Print no notes and no progress"),
};

function figureName(value: string, summary: string): Flag<FigureKey> {
  return {
    ...{ value, summary, words: figureKeys, openWords: true },
    parse(text) {
      const key = figureKeys.find((key) => key === text);
      if (key !== undefined) return key;
      throw new ExpectationError("names of figures such as kernelTimeMs", suggestion(text, figureKeys));
    },
  };
}

type BenchValues = FlagValues<typeof flags>;

const [firstSwept, lastSwept] = [0, -1].map((index) => Object.keys(sweptFlags).at(index));

export default command({
  flags,
  examples: {
    "yamoe bench": "The reference job: 262,144 tokens, 32 experts, top 4",
    "yamoe bench --preset small --iters 6": "A job of seconds, with the median of six calls",
    "yamoe bench --preset tiny --capacity none --json": "No token dropped; every figure, for a script",
    "yamoe bench --preset tiny --batch 1..64*2 --seq 16,32": "A sweep: a row for each of 14 configurations",
    "yamoe bench --preset tiny --threads 1..2 --format csv --output threads.json":
      "Rows for a spreadsheet on standard output, all figures in a file",
    "yamoe bench --preset tiny --batch 8 --max-noise 0.5 --timeout 20": "As many calls as a precise median needs",
    "yamoe bench --backend cuda --iters 10 --against 'python3 seed.py'": "The original script's row below ours",
    'yamoe bench --preset tiny --ab "--blas none" "--threads 1"':
      "Two configurations in turn, and the ratio of their times",
    "yamoe bench --preset qwen3-30b-a3b --tokens 1 --op moe --profile":
      "The time of each kernel, beside what limits it",
    "yamoe bench --preset tiny,small --batch 1,1000000 --dry-run": "What would run, and what does not fit",
  },
  details: [
    `The flags from --${firstSwept} to --${lastSwept} take several values: --batch 1,2,8, or --batch 1 --batch 2, or a ` +
    "range: 1..8 in steps of 1, 1..9+4 in steps of 4, 1..64*2 in powers. --preset 'qwen*' is all that match. Every " +
    "combination runs. A combination that fails becomes a row with the reason, the others go on, and the exit code is 1. " +
    "Ctrl-C keeps the rows so far.",
    "The time is the median. Its noise is half the width of its 95 % interval, which needs at least 6 calls. On a GPU, " +
    "sweeps also show the time with the L2 cache emptied before each call, the time per call of many calls back to " +
    "back, and the time per replay of a captured call.",
  ],
  run,
});

async function run(values: BenchValues): Promise<number> {
  if (values.json && values.format) throw new UsageError("--json and --format cannot be given together");
  const { ab } = values;
  if (ab) return await runInTurn(values, ab);
  const plan = await asUsage(() => configurations(values));
  if (!values.gpus || values["dry-run"]) return await runPlan(values, plan);
  const part = partOfProcess();
  if (part.kind === "starter") {
    using runner = new RankRunner(plan);
    return await runPlan(values, plan, { runner });
  }
  const { placement, configuration } = part;
  const chosen = configuration === undefined ? undefined : plan[configuration];
  const prints = prepareRank(placement, chosen ? [] : values.gpus);
  const isSweep = plan.length > 1;
  if (!chosen && prints) return await runPlan(values, plan, { placement, isSweep });
  const { against: _against, output: _output, json: _json, ...silent } = values;
  const quiet: BenchValues = { ...silent, format: "jsonl", quiet: true };
  return await runPlan(quiet, chosen ? [chosen] : plan, { placement, isSweep });
}

/** The part of this process in a run over several GPUs. */
interface Ranks {
  /** Runs the configurations on other processes. */
  readonly runner?: RankRunner;
  /** The place of this process, if it is a rank. */
  readonly placement?: Placement;
  /** Whether the whole command line is a sweep. */
  readonly isSweep?: boolean;
}

async function runPlan(
  values: BenchValues,
  plan: readonly [Configuration, ...Configuration[]],
  { runner: starter, placement, isSweep = plan.length > 1 }: Ranks = {},
): Promise<number> {
  const note = onceNoted(values.quiet);
  if (values["dry-run"]) {
    return printPlan(await withMemory(plan, !values["no-verify"]), values.format ?? (values.json ? "json" : "text"));
  }

  const measuring = measurement(values, isSweep);
  const origin = provenance();
  using progress = new ProgressBar(values.quiet);
  let current = 0;
  using local = new Runner({
    provenance: origin,
    open: (place, pool) => placement ? openRank(placement, place, values.nccl) : backendFromFlags(place, pool, note),
    onFailure: failRank,
    prepare(configuration, backend) {
      const { job } = configuration;
      const problem = jobProblem(backend, placement ? { ...job, ep: placement.ranks } : job, !values["no-verify"]);
      if (problem !== null) {
        failRank(backend, problem);
        throw new Error(problem);
      }
      const prefix = isSweep ? `${current + 1}/${plan.length} ` : "";
      return { ...measuring, onProgress: (phase, fraction) => progress.show(prefix + phase, fraction) };
    },
  });

  const [first] = plan;
  const onePlace = plan.every(({ place }) => JSON.stringify(place) === JSON.stringify(first.place));
  const opened = onePlace && !starter ? await local.open(first.place) : undefined;
  const runner = starter ?? local;
  note(`yamoe ${version}, ${isSweep ? plural(plan.length, "configuration") : describeJob(first.job)}`);
  if (opened) note(describePlace(opened, isSweep ? undefined : first.job));

  const against = values.against;
  const asRows = plan.length > 1 || against !== undefined;
  const format = values.format ?? (asRows ? (values.json ? "json" : "text") : undefined);
  const layout = planLayout(plan, {
    backend: opened?.backend,
    against: against !== undefined,
    samples: values.samples,
    columns: values.columns,
  });
  await checkOutput(values.output, plan);
  const output = RecordOutput.open(format, values.output, layout);
  let other: Running | undefined;
  const mayUseGpu = opened ? opened.backend.name === "cuda" : plan.some(({ place }) => place.backend !== "cpu");
  onInterrupt(() => {
    other?.kill();
    starter?.[Symbol.dispose]();
    progress[Symbol.dispose]();
    output.close();
  }, mayUseGpu ? output : undefined);

  if (!asRows) {
    const record = await runner.run(first);
    progress[Symbol.dispose]();
    output.write(record);
    output.close();
    if (!format) printRun(record, values.json);
    runNotes(record).forEach(note);
    return exitCode.done;
  }
  const records: BenchRecord[] = [];
  const keep = (record: BenchRecord) => {
    progress[Symbol.dispose]();
    output.write(record);
    records.push(record);
  };
  for await (const record of sweep(plan, runner, origin)) {
    keep(record);
    const job = plan[current]?.job;
    if (against !== undefined && job) {
      const timeoutMs = 1000 * (values["against-timeout"] ?? 600);
      keep(await recordOther(against, job, origin, () => other = runAgainst(against, job, timeoutMs)));
    }
    const { problem = null } = plan[current] ?? {};
    if (placement && record.status !== "ok" && problem === null) break; // the other ranks have ended
    current += 1;
  }
  output.close();
  if (format === "text") records.flatMap((record) => profileLines(record, layout.varying)).forEach(printData);
  hintsByRow(records, layout.varying).forEach(note);
  const failed = records.filter(({ status }) => status !== "ok").length;
  if (failed > 0) note(`${failed} of ${plural(records.length, "row")} failed`);
  return failed > 0 ? exitCode.failed : exitCode.done;
}

/** Runs the two configurations of `--ab`. */
async function runInTurn(values: BenchValues, ab: readonly string[]): Promise<number> {
  for (const name of ["against", "dry-run", "format", "profile"] as const) {
    if (values[name] !== undefined) throw new UsageError(`--ab and --${name} cannot be given together`);
  }
  const layout = planLayout([], { samples: values.samples, columns: values.columns });
  const output = RecordOutput.open(undefined, values.output, layout);
  return await asUsage(() => runAb(values, ab, (record) => output.write(record)));
}

function printRun(record: FinishedRecord, json = false): void {
  (json ? [toJson(record)] : [...threeLines(record), ...record.profile ? profileTable(record.profile) : []])
    .forEach(printData);
}

/** Returns the table of the kernels of a row. */
function profileLines(record: BenchRecord, varying: readonly FigureKey[]): string[] {
  if (!record.profile) return [];
  return ["", ...wrap(`Kernels of ${rowName(record, varying)}:`, outputWidth()), ...profileTable(record.profile)];
}

/** The number of rows that a note names. The table has the hints of all rows. */
const namedRows = 4;

/** Returns each hint once, with the rows that have it and what to do. */
function hintsByRow(records: readonly BenchRecord[], varying: readonly FigureKey[]): string[] {
  const hints = records.flatMap((record) => record.hints.map((hint) => ({ hint, row: rowName(record, varying) })));
  return [...Map.groupBy(hints, ({ hint }) => shortHint(hint))].map(([short, group]) => {
    const rows = [...new Set(group.map(({ row }) => row))], more = rows.length - namedRows;
    const names = rows.slice(0, namedRows).join("; ") + (more > 0 ? ` and ${plural(more, "more row")}` : "");
    return `Note on ${names}: ${short}; ${advice(group[0]?.hint ?? "")}`;
  });
}

function rowName(record: BenchRecord, varying: readonly FigureKey[]): string {
  return varying.map((key) => columnOf(key)?.words?.(record[key]) ?? `${record[key]}`).join(", ") || record.preset;
}

/** Returns the plan with a problem for each configuration that does not fit the memory. No GPU is needed for `cuda`. */
async function withMemory(plan: readonly Configuration[], verify: boolean): Promise<Configuration[]> {
  using runner = new Runner({
    provenance: provenance(),
    open: (place, pool) => backendFromFlags(place, pool, () => {}),
    prepare: () => ({ warmup: 0, iters: 1 }),
  });
  const marked: Configuration[] = [];
  for (const configuration of plan) {
    const { job, place, problem } = configuration;
    if (problem !== null || place.backend === "cuda") marked.push(configuration);
    else {
      const { backend } = await runner.open(place);
      marked.push({ ...configuration, problem: jobProblem(backend, job, verify) });
    }
  }
  return marked;
}

/** Runs another program and returns its row: what it printed, or why it failed. */
async function recordOther(
  command: string,
  job: Job,
  origin: Provenance,
  start: () => Running,
): Promise<BenchRecord> {
  try {
    return externalRecord(job, command, await start().result, origin);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return failedRecord(job, { backend: "external", device: command, threads: null }, error.message, origin);
  }
}

/** Returns a function that prints notes, each once. */
function onceNoted(quiet = false): (line: string) => void {
  const printed = new Set<string>();
  return (line) => {
    if (quiet || printed.has(line)) return;
    printed.add(line);
    printNote(line);
  };
}
