// Measures how good the checks are. Plants one-token faults into the kernels, one at a time, and lists those that no check
// notices:
//
//   deno task mutate [--workers N] [--every N] [--log FILE] [file...]
//
// The files are those of cuda/ that are named, or all. --every N takes every N-th mutant, --workers N runs N at a time (by
// default one for each processor), and --log records the outcome of each. survivors.jsonl must explain every survivor. A
// survivor without an explanation fails the job, and so does an explanation without a survivor.
import { parseArgs } from "@std/cli/parse-args";
import { productSources } from "../../cuda/emulated.ts";
import { buildMutant, type EmulatorOptions, filesOf, kernelNames } from "../build.ts";
import { type Fault, faultsOf } from "./faults.ts";
import type { JobRecord } from "./mutant.ts";
import { explanations } from "./survivors.ts";

const folder = new URL("../../../cuda/", import.meta.url).pathname;

/** The emulator that a file is part of, and the kernel files that include it. */
interface Place {
  readonly options: EmulatorOptions;
  readonly sources: string[];
}

/** All files, each on the architectures that have it. A mutant that survives on one runs on the next. */
const places = new Map<string, Place[]>();
for (const arch of [80, 90]) {
  const options: EmulatorOptions = { arch, sources: productSources(arch), checked: true };
  for (const source of options.sources) {
    for (const path of (await filesOf(source)).keys()) {
      const file = path.slice(folder.length);
      const all = places.get(file) ?? [];
      const place = all.find((place) => place.options === options);
      if (place) place.sources.push(source);
      else all.push({ options, sources: [source] });
      places.set(file, all);
    }
  }
}

/** Builds an emulator with a file replaced and runs jobs on it. Returns what they print, or undefined if it does not compile. */
async function runOn(
  options: EmulatorOptions,
  file: string,
  text: string,
  jobs?: readonly JobRecord[],
): Promise<string | undefined> {
  const temporary = await Deno.makeTempDir({ prefix: "yamoe-mutant-" });
  try {
    const library = await buildMutant(options, { path: folder + file, text }, temporary);
    if (!library) return undefined;
    const script = new URL("./mutant.ts", import.meta.url).pathname;
    const run = [Deno.execPath(), "run", "-A", script, `${options.arch}`, library];
    if (jobs) run.push(JSON.stringify(jobs));
    // The emulator stops a kernel that accesses memory forever. A limit of processor time stops any other endless loop. Elapsed
    // time would depend on what else the machine runs.
    const command = new Deno.Command("sh", {
      args: ["-c", `ulimit -S -t 120; exec "$@"`, "sh", ...run],
      stdout: "piped",
      stderr: "null",
    });
    const { stdout, signal, code } = await command.output();
    if (signal) return signal;
    const printed = new TextDecoder().decode(stdout).trim();
    return printed || `crash: exit code ${code}`;
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
}

/** Runs all jobs of an architecture on the unchanged kernels. `file` is any of its files. */
async function runUnchanged(options: EmulatorOptions, file: string): Promise<JobRecord[]> {
  const printed = await runOn(options, file, await Deno.readTextFile(folder + file));
  const lines = printed?.split("\n") ?? [];
  const wrong = lines.find((line) => !line.startsWith("{"));
  if (wrong !== undefined || lines.length === 0) throw new Error(`The unchanged kernels fail: ${wrong}`);
  return lines.map((line) => JSON.parse(line)).sort((a, b) => a.milliseconds - b.milliseconds);
}

/** The architectures whose jobs were run on the unchanged kernels: one of their files, and what the jobs did. */
const unchanged = new Map<EmulatorOptions, { file: string; records: Promise<JobRecord[]> }>();

/** Returns the jobs that reach a file on an architecture, the fastest first. */
async function jobsOf(file: string, { options, sources }: Place): Promise<JobRecord[]> {
  const { records } = unchanged.get(options) ?? { records: runUnchanged(options, file) };
  if (!unchanged.has(options)) unchanged.set(options, { file, records });
  const kernels = new Set((await Promise.all(sources.map((source) => kernelNames(source, options)))).flat());
  return (await records).filter((record) => record.kernels.some((kernel) => kernels.has(kernel)));
}

const outcomes = {
  unbuilt: "do not compile",
  check: "caught by a check",
  result: "caught by the result",
  endless: "caught because they never end",
  crash: "caught by a crash",
  explained: "explained",
  survived: "unexplained",
};
type Outcome = keyof typeof outcomes;

function isCrash(printed: string | undefined): boolean {
  return printed !== undefined && /^(SIG|crash)/.test(printed);
}

function outcomeOf(printed: string | undefined): Outcome {
  if (printed === undefined) return "unbuilt";
  if (printed === "SIGXCPU" || printed.includes("accesses, barriers and collectives")) return "endless";
  if (isCrash(printed)) return "crash";
  return printed.startsWith("check: ") ? "check" : printed.startsWith("result: ") ? "result" : "survived";
}

const { log, _: names, ...flags } = parseArgs(Deno.args, {
  string: ["every", "workers", "log"],
  unknown: (argument, key) => {
    if (key !== undefined) throw new RangeError(`An option must be --every, --workers or --log, got ${argument}`);
  },
}) as {
  log?: string;
  every?: string;
  workers?: string;
  _: (string | number)[];
};
const count = (name: string, text: string) => {
  if (!/^[1-9]\d*$/.test(text)) throw new RangeError(`--${name} must be a positive integer, got ${text}`);
  return Number(text);
};
const every = count("every", flags.every ?? "1");
const workers = count("workers", flags.workers ?? String(navigator.hardwareConcurrency));
const files = names.length ? names.map(String) : [...places.keys()].sort();
const unknown = files.find((file) => !places.has(file));
if (unknown !== undefined) {
  throw new RangeError(`A file must be one of ${[...places.keys()].sort().join(", ")}, got ${unknown}`);
}

/** Explanations that no survivor has matched yet. */
const unmatched = explanations.flatMap(({ after, ...rest }) => after.map((after) => ({ ...rest, after })));
const counts = new Map(files.map((file) => [file, new Map<Outcome, number>()]));

interface Mutant extends Fault {
  readonly file: string;
}

async function judge({ file, line, before, after, text }: Mutant): Promise<void> {
  let printed: string | undefined;
  for (const own of places.get(file)!) {
    const jobs = await jobsOf(file, own);
    printed = await runOn(own.options, file, text, jobs);
    // Another process may have killed it. Only the second crash counts.
    if (isCrash(printed)) printed = await runOn(own.options, file, text, jobs);
    if (outcomeOf(printed) !== "survived") break;
  }
  let outcome = outcomeOf(printed);
  const place = `${file}:${line}\n  - ${before}\n  + ${after}`;
  if (outcome === "survived") {
    const found = unmatched.findIndex((it) => it.file === file && it.before === before && it.after === after);
    if (found < 0) {
      console.log(`SURVIVOR ${place}`);
    } else {
      outcome = "explained";
      unmatched.splice(found, 1);
    }
  }
  if (log) await Deno.writeTextFile(log, `${outcome} ${place}\n  ${printed}\n`, { append: true });
  const count = counts.get(file)!;
  count.set(outcome, (count.get(outcome) ?? 0) + 1);
}

const mutantsOf = (file: string) =>
  [...faultsOf(Deno.readTextFileSync(folder + file))].map((fault): Mutant => ({ file, ...fault }));
const queue = files.flatMap(mutantsOf).filter((_, i) => i % every === 0);
await Promise.all(Array.from({ length: workers }, async () => {
  for (let mutant = queue.shift(); mutant; mutant = queue.shift()) await judge(mutant);
}));

// The outcomes are valid only if nobody has changed the files in the meantime.
const digests = (records: readonly JobRecord[]) => records.map(({ name, digest }) => `${name} ${digest}`).sort().join();
for (const [options, { file, records }] of unchanged) {
  if (digests(await runUnchanged(options, file)) !== digests(await records)) {
    throw new Error("Cannot judge the mutants: the kernels have changed in the meantime");
  }
}

const total = (counts: Iterable<ReadonlyMap<Outcome, number>>) =>
  Object.entries(outcomes).map(([outcome, text]) => {
    const count = [...counts].reduce((sum, of) => sum + (of.get(outcome as Outcome) ?? 0), 0);
    return `${count} ${text}`;
  }).join(", ");
for (const [file, count] of counts) console.log(`${file}: ${total([count])}`);
console.log(`All: ${total([...counts.values()])}`);
// An explanation without a survivor explains a line that has changed, or a mutant that is now caught.
const stale = every === 1 ? unmatched.filter(({ file }) => files.includes(file) || !places.has(file)) : [];
for (const { file, before, after } of stale) console.log(`STALE ${file}\n  - ${before}\n  + ${after}`);
if (stale.length > 0 || [...counts.values()].some((count) => count.get("survived"))) Deno.exit(1);
