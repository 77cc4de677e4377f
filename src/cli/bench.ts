import { runAgainst, type Running } from "../bench/against.ts";
import type { Backend, BackendName } from "../backend/backend.ts";
import type { BenchOptions } from "../bench/bench.ts";
import { type Provenance, provenance } from "../bench/provenance.ts";
import { type BenchRecord, externalRecord, failedRecord } from "../bench/record.ts";
import { formatNames } from "../report/format.ts";
import { runJson } from "../report/json.ts";
import { describeJob, runNotes, threeLines } from "../report/text.ts";
import { type Configuration, crossProduct, Runner, sweep } from "../bench/sweep.ts";
import { formatBytes, plural } from "../text.ts";
import { version } from "../version.ts";
import type { WorkerPool } from "../wasm/worker_pool.ts";
import { type Job, requiredBytes } from "../workload/workload.ts";
import { planLayout, printPlan } from "./bench_plan.ts";
import { command, exitCode, printData, printNote } from "./command.ts";
import { axes, axis, choice, file, type FlagValues, integer, positive, text, toggle, UsageError } from "./flags.ts";
import { freeMemory } from "./free_memory.ts";
import { onInterrupt } from "./interrupt.ts";
import { backendFlags, backendFromFlags, checkJob, jobFlags, presetFlag, requestedJob } from "./job_flags.ts";
import { ProgressBar } from "./progress.ts";
import { RecordOutput } from "./record_output.ts";

/** Flags of which every combination of values is a configuration. */
export const sweptFlags = { preset: axis(presetFlag("reference")), ...axes(jobFlags), ...axes(backendFlags) };

const flags = {
  ...sweptFlags,
  warmup: integer("N", "Calls before the timed ones (default: 5 on a GPU; on the CPU 0, in a sweep 1)", 0, 1_000_000),
  iters: integer("N", "Timed calls, or the least there are to be (default: 1; in a sweep at least 5)", 1, 1_000_000),
  "min-time": positive("SECONDS", "Go on for as long (default in a sweep: 0.2)"),
  "max-noise": positive("PERCENT", "Go on until the median is known as well as this (default in a sweep: 1)"),
  timeout: positive("SECONDS", "Stop after as long all the same (default in a sweep: 3)"),
  "no-verify": toggle("Do not check the output against float64 before timing"),
  format: choice("NAME", `Print records: ${formatNames.join(", ")}`, formatNames),
  json: toggle("Print one JSON object instead of three lines; of a sweep, an array"),
  output: { ...file("FILE", "Write the records to a file as well, in the format of its extension"), short: "o" },
  against: text("COMMAND", "Run another program that prints the three lines, too; {batch} and so on stand for sizes"),
  "against-timeout": positive("SECONDS", "How long that may take (default: 600)"),
  "dry-run": toggle("Print what would be run"),
  quiet: toggle("Print no notes and no progress"),
};

/** What the command line said. */
export type BenchValues = FlagValues<typeof flags>;

export default command({
  flags,
  examples: {
    "yamoe bench": "The reference job: 262,144 tokens, 32 experts, top 4",
    "yamoe bench --preset small --iters 5": "A job of seconds, the median of five calls",
    "yamoe bench --preset tiny --capacity none --json": "Nothing dropped; every figure, for a script",
    "yamoe bench --preset tiny --batch 1..64*2 --seq 16,32":
      "A sweep: a row for each of 14 configurations as it finishes",
    "yamoe bench --preset tiny --threads 1..2 --format csv --output threads.json":
      "Rows for a spreadsheet on standard output, everything in a file",
    "yamoe bench --preset tiny --batch 8 --max-noise 0.5 --timeout 20": "As many calls as a trustworthy median needs",
    "yamoe bench --backend cuda --iters 10 --against 'python3 seed.py'": "The original script's row beside ours",
    "yamoe bench --preset tiny,small --batch 1,1000000 --dry-run": "What would be run, and what does not fit",
  },
  details: [
    "Flags for sizes and places take several values: --batch 1,2,8, or --batch 1 --batch 2, or a range: 1..8 in steps of 1,",
    "1..9+4 in steps of 4, 1..64*2 in powers. Every combination is run. One that fails becomes a row with the reason,",
    "the rest go on, and the exit code is 1. Ctrl-C keeps the rows there are.",
    "",
    "The time is the median; its noise is half the width of its 95 % interval. On a GPU, sweeps also show the time with",
    "the L2 cache emptied before each call, and that of a call among many back to back.",
  ],
  run,
});

/** Runs the command. */
async function run(values: BenchValues): Promise<number> {
  if (values.json && values.format) throw new UsageError("--json and --format cannot be given together");
  const plan = configurations(values);
  const note = noting(values.quiet);
  if (values["dry-run"]) return printPlan(plan, values.format);

  const isSweep = plan.length > 1;
  const measuring = measurement(values, isSweep);
  const origin = provenance();
  using progress = new ProgressBar(values.quiet);
  let current = 0;
  using runner = new Runner({
    provenance: origin,
    open: (place, engine) => backendFromFlags(place, engine, note),
    prepare(configuration, backend) {
      checkMemory(configuration, backend);
      const prefix = isSweep ? `${current + 1}/${plan.length} ` : "";
      return { ...measuring(backend), onProgress: (phase, fraction) => progress.show(prefix + phase, fraction) };
    },
  });

  const { place } = plan[0]!;
  const onePlace = plan.every((other) => JSON.stringify(other.place) === JSON.stringify(place));
  const opened = onePlace ? await runner.open(place) : undefined;
  note(
    isSweep
      ? `yamoe ${version}, ${plural(plan.length, "configuration")}`
      : `yamoe ${version}, ${describeJob(plan[0]!.job)}`,
  );
  if (opened) note(describePlace(opened, isSweep ? undefined : plan[0]!));

  const asRows = isSweep || values.against !== undefined;
  const format = values.format ?? (asRows ? (values.json ? "json" : "text") : undefined);
  const output = RecordOutput.open(
    format,
    values.output,
    planLayout(plan, opened?.backend, values.against !== undefined),
  );
  let other: Running | undefined;
  onInterrupt(() => {
    other?.kill();
    progress[Symbol.dispose]();
    output.close();
  });

  if (!asRows) {
    const record = await runner.run(plan[0]!);
    progress[Symbol.dispose]();
    output.write(record);
    output.close();
    if (!format) (values.json ? [runJson(record)] : threeLines(record)).forEach(printData);
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
    if (values.against !== undefined) {
      const { job } = plan[current]!;
      const timeoutMs = 1000 * (values["against-timeout"] ?? 600);
      const start = () => other = runAgainst(values.against!, job, timeoutMs);
      keep(await recordOther(values.against, job, origin, start));
    }
    current += 1;
  }
  output.close();
  for (const hint of records.flatMap(({ hints }) => hints)) note(`Note: ${hint}`);
  const failed = records.filter(({ status }) => status !== "ok").length;
  if (failed > 0) note(`${failed} of ${plural(records.length, "row")} failed`);
  return failed > 0 ? exitCode.failed : exitCode.done;
}

/** The row of another program: what it printed, or why it did not. */
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

/** Prints notes, each once; none where quiet is wanted. */
function noting(quiet = false): (line: string) => void {
  const said = new Set<string>();
  return (line) => {
    if (quiet || said.has(line)) return;
    said.add(line);
    printNote(line);
  };
}

/** One value of each of the flags that were given. */
type Point = { [Name in keyof typeof sweptFlags]?: ReturnType<typeof sweptFlags[Name]["parse"]> };

/** Every combination of the values that the flags list. */
function configurations(values: BenchValues): Configuration[] {
  const swept = Object.entries(values).filter(([name]) => name in sweptFlags) as [string, unknown[]][];
  const points: Point[] = crossProduct(Object.fromEntries(swept));
  const combinations = points.map(({ backend = "auto", device, threads, blas, preset = "reference", ...flags }) => ({
    place: { backend, device, threads, blas },
    job: requestedJob(preset, flags),
  }));
  if (combinations.length === 1) checkJob(combinations[0]!.job); // a single one that cannot be run is a mistake
  return combinations.map((combination) => ({ ...combination, problem: problemOf(combination) }));
}

function problemOf({ job }: Pick<Configuration, "job">): string | null {
  try {
    checkJob(job);
    return null;
  } catch (error) {
    if (!(error instanceof UsageError || error instanceof RangeError)) throw error;
    return error.message;
  }
}

/** How the flags want times to be taken, on a backend. */
function measurement(values: BenchValues, isSweep: boolean): (backend: Backend) => BenchOptions {
  const { iters, "min-time": minTime, "max-noise": maxNoise, timeout } = values;
  const adaptive = [minTime, maxNoise, timeout].some((value) => value !== undefined) ||
    (isSweep && iters === undefined);
  const stop = adaptive
    ? {
      minTimeMs: 1000 * (minTime ?? 0.2),
      maxNoise: (maxNoise ?? 1) / 100,
      timeoutMs: 1000 * (timeout ?? Math.max(3, minTime ?? 0)),
    }
    : undefined;
  return (backend) => ({
    warmup: values.warmup ?? (backend.name === "cuda" ? 5 : adaptive ? 1 : 0),
    iters: iters ?? (adaptive ? 5 : 1),
    stop,
    verify: !values["no-verify"],
    thorough: adaptive || iters !== undefined && iters > 1,
  });
}

function describePlace({ engine, backend }: { engine: WorkerPool; backend: Backend }, only?: Configuration): string {
  const threads = backend.name === "cpu" ? `, ${plural(engine.threads, "thread")}, ${backend.engine}` : "";
  return `On ${backend.device}${threads}${only ? `; needs ${formatBytes(requiredBytes(only.job))} of memory` : ""}`;
}

function checkMemory({ job }: Configuration, { name }: { name: BackendName }): void {
  const need = requiredBytes(job);
  const free = name === "cpu" ? freeMemory() : undefined;
  if (free === undefined || free >= need) return;
  throw new UsageError(
    `The job needs ${formatBytes(need)} of memory, and ${formatBytes(free)} are free; make it smaller`,
  );
}
