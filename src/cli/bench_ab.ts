// `yamoe bench --ab`: two configurations in turn, call by call.
import { splitCommand } from "../bench/against.ts";
import { judge, outputsAgree } from "../bench/compare.ts";
import { callInTurn, type Ratio, ratioOf } from "../bench/in_turn.ts";
import { PreparedJob } from "../bench/prepared_job.ts";
import { provenance } from "../bench/provenance.ts";
import { type FinishedRecord, finishedRecord } from "../bench/record.ts";
import { warmUp } from "../bench/series.ts";
import type { Configuration } from "../bench/sweep.ts";
import { summarize } from "../statistics.ts";
import { digits } from "../report/columns.ts";
import { toJson } from "../report/json.ts";
import { textTable } from "../report/table.ts";
import { plural } from "../text.ts";
import { WorkerPool } from "../wasm/worker_pool.ts";
import { checkOutput, configurations, sweptFlags } from "./bench_configurations.ts";
import { describePlace, type MeasurementValues } from "./bench_measurement.ts";
import { exitCode, outputWidth, printData, printNote } from "./command.ts";
import { type FlagValues, parseFlags } from "./flags.ts";
import { jobProblem } from "./free_memory.ts";
import { onInterrupt } from "./interrupt.ts";
import { backendFromFlags } from "./job_flags.ts";
import { ProgressBar } from "./progress.ts";
import { UsageError } from "./usage_error.ts";

/** The flags of `yamoe bench` that an A/B run heeds. */
type AbValues = FlagValues<typeof sweptFlags> & MeasurementValues & {
  readonly json?: boolean;
  readonly output?: string;
  readonly quiet?: boolean;
};

/** A change of the time that still counts as the same. */
const threshold = 0.01;

/** One side of the comparison. */
interface Side {
  readonly name: string;
  readonly flags: string;
  readonly configuration: Configuration;
}

/**
 * Runs two configurations in turn and prints the ratio of their times.
 *
 * @param values The flags that both sides share.
 * @param given The flags of A and those of B.
 * @param write Keeps the record of a side.
 */
export async function runAb(
  values: AbValues,
  given: readonly string[],
  write: (record: FinishedRecord) => void,
): Promise<number> {
  if (given.length !== 2) {
    throw new UsageError(`--ab must be followed by the flags of A and those of B, got ${given.length}`);
  }
  const sides = await Promise.all(given.map((flags, i) => namedSide("AB".charAt(i), flags, values)));
  await checkOutput(values.output, sides.map(({ configuration }) => configuration));
  using scope = new DisposableStack();
  const progress = scope.use(new ProgressBar(values.quiet));
  const note = (line: string) => {
    progress[Symbol.dispose](); // a note must not follow the bar on its line
    if (!values.quiet) printNote(line);
  };
  const opened = [];
  for (const side of sides) opened.push({ ...side, ...await open(side, values, scope, progress, note) });
  const [a, b] = opened;
  if (!a || !b) throw new RangeError("An A/B run must have two sides");
  onInterrupt(() => scope.dispose());

  const warmup: number[] = [];
  for (const { name, prepared } of opened) {
    warmup.push(
      (await warmUp(values.warmup ?? "steady", () => {
        progress.show(`Warm-up ${name}`, 0);
        return prepared.call();
      })).length,
    );
  }
  for (const { prepared } of opened) prepared.start();
  const pairs = await callInTurn(() => a.prepared.call(), () => b.prepared.call(), values.iters ?? 20, {
    minTimeMs: 1000 * (values["min-time"] ?? 0.2),
    maxNoise: (values["max-noise"] ?? 0.5) / 100,
    timeoutMs: 1000 * (values.timeout ?? 10),
  }, (fraction) => progress.show("In turn", fraction));
  const origin = provenance();
  const records = opened.map(({ prepared, backend }, i) =>
    finishedRecord(
      prepared.result({ calls: i === 0 ? pairs.a : pairs.b, converged: pairs.converged }, warmup[i] ?? 0),
      origin,
      backend.details,
    )
  );
  progress[Symbol.dispose]();
  records.forEach(write);
  print(sides, records, ratioOf(pairs), values.json);
  if (!pairs.converged) {
    note("Note: not converged: the interval is wider than asked for; raise --timeout or --max-noise");
  }
  return exitCode.done;
}

/** Parses the flags of one side. An error names the side. */
async function namedSide(name: string, flags: string, shared: FlagValues<typeof sweptFlags>): Promise<Side> {
  try {
    return await sideOf(name, flags, shared);
  } catch (error) {
    throw error instanceof UsageError ? new UsageError(`${name} of --ab: ${error.message}`) : error;
  }
}

/** Parses the flags of one side. */
async function sideOf(name: string, flags: string, shared: FlagValues<typeof sweptFlags>): Promise<Side> {
  const own = parseFlags(splitCommand(flags), sweptFlags).values;
  const both = Object.entries({ ...shared, ...own }).filter(([key]) => key in sweptFlags);
  const [configuration, ...others] = await configurations(Object.fromEntries(both));
  if (others.length > 0) {
    throw new UsageError(`Each side must have one configuration, got ${others.length + 1}`);
  }
  if (configuration.place.gpus !== undefined) throw new UsageError("--gpus cannot be compared call by call");
  return { name, flags, configuration };
}

async function open(
  { name, configuration: { job, place } }: Side,
  values: AbValues,
  scope: DisposableStack,
  progress: ProgressBar,
  note: (line: string) => void,
) {
  const pool = scope.use(new WorkerPool(place.threads));
  const backend = scope.use(await backendFromFlags(place, pool, note));
  const problem = jobProblem(backend, job, !values["no-verify"]);
  if (problem !== null) throw new Error(problem);
  note(`${name}: ${describePlace({ pool, backend }, job)}`);
  const prepared = scope.use(
    await PreparedJob.open(job, backend, pool, {
      verify: !values["no-verify"],
      onProgress: (phase, fraction) => progress.show(`${phase} ${name}`, fraction),
    }),
  );
  return { backend, prepared };
}

function print(
  sides: readonly Side[],
  records: readonly FinishedRecord[],
  { ratio, ratioInterval }: Ratio,
  json = false,
): void {
  const [a, b] = records;
  const verdict = judge(ratio, ratioInterval, threshold);
  const sameOutput = outputsAgree(a, b);
  if (json) {
    const flags = Object.fromEntries(sides.map(({ name, flags }) => [`flags${name}`, flags]));
    printData(toJson({ ...flags, pairs: a?.iters, ratio, ratioInterval, verdict, sameOutput, a, b }));
    return;
  }
  const rows = sides.map((side, i) => ({ ...side, times: summarize(records[i]?.kernelTimesMs ?? []) }));
  textTable(
    [
      { title: "", align: "left", text: ({ name }) => name },
      { title: "median ms", text: ({ times }) => digits(times.median) },
      { title: "min ms", rank: 2, text: ({ times }) => digits(times.min) },
      {
        title: "noise",
        rank: 1,
        text: ({ times }) => times.noise === null ? "-" : `${(100 * times.noise).toFixed(1)} %`,
      },
      { title: "flags", align: "left", text: ({ flags }) => flags || "(none)" },
    ],
    rows,
    outputWidth(),
  ).forEach(printData);
  const range = ratioInterval ? `, 95 % interval ${ratioInterval.map((value) => value.toFixed(4)).join(" to ")}` : "";
  printData(`B / A: ${ratio.toFixed(4)}${range}, ${plural(a?.iters ?? 0, "pair")}: ${conclusion(verdict)}`);
  if (sameOutput === false) printData("The outputs differ: A and B do not compute the same");
}

function conclusion(verdict: ReturnType<typeof judge>): string {
  if (verdict === "faster" || verdict === "slower") return `B is ${verdict}`;
  return verdict === "same" ? "the same within 1 %" : "unclear";
}
