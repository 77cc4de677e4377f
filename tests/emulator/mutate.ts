// How good are the checks? Plants one-token faults into the kernels, one at a time, and lists those that nothing notices:
//
//   deno task mutate [--workers N] [--every N] [--log FILE] [file...]
//
// in the files named, of cuda/, or in all; every N-th of them; N at a time, by default one for each processor. The log says what
// became of each. A survivor must be explained in survivors.ts: one that is not fails the job, as does an explanation that fits
// none.
import { parseArgs } from "@std/cli/parse-args";
import { productSources } from "../cuda/emulated.ts";
import { buildMutant, type EmulatorOptions, filesOf, kernelNames } from "./build.ts";
import type { JobRecord } from "./mutant.ts";
import { explanations } from "./survivors.ts";

/** What is exchanged for what. */
const exchanges: readonly (readonly [RegExp, string])[] = [
  [/ < (?!<)/, " <= "],
  [/ <= /, " < "],
  [/ > (?!>)/, " >= "],
  [/ >= /, " > "],
  [/ == /, " != "],
  [/ && /, " || "],
  [/ \+ /, " - "],
  [/ - /, " + "],
  [/ \* /, " + "],
  [/ % /, " / "],
  [/ & (?!&)/, " | "],
  [/ \^ /, " | "],
  [/ >> /, " << "],
  [/ << /, " >> "],
  [/\bmin\(/, "max("],
  [/\b0\b/, "1"],
  [/\b1\b/, "0"],
  [/\b1\b/, "2"],
  [/\b2\b/, "1"],
  [/\b8\b/, "4"],
  [/\b16\b/, "8"],
  [/\b32\b/, "16"],
  [/__syncthreads\(\);/, ""],
  [/__syncwarp\(\);/, ""],
  [/cp_async_wait<[^;]*;/, ""],
  [/cp_async_wait<Tile::kStages - 2>/, "cp_async_wait<Tile::kStages - 1>"],
  [/cp_async_commit\(\);/, ""],
  [/__fdividef\(/, "fmaxf("],
];

interface Mutant {
  readonly file: string;
  readonly line: number;
  readonly before: string;
  readonly after: string;
  readonly text: string;
}

const folder = new URL("../../cuda/", import.meta.url).pathname;

/** What a file is part of: an emulator, and kernel files of it. */
interface Place {
  readonly options: EmulatorOptions;
  readonly sources: string[];
}

/** All files, on the first architecture that has them. */
const places = new Map<string, Place>();
for (const arch of [80, 90]) {
  const options: EmulatorOptions = { arch, sources: productSources(arch), checked: true };
  for (const source of options.sources) {
    for (const path of (await filesOf(source)).keys()) {
      const file = path.slice(folder.length);
      const place = places.get(file) ?? { options, sources: [] };
      if (place.options === options) place.sources.push(source);
      places.set(file, place);
    }
  }
}

function* mutants(file: string): Iterable<Mutant> {
  const lines = Deno.readTextFileSync(folder + file).split("\n");
  for (const [i, before] of lines.entries()) {
    const code = before.replace(/\/\/.*$/, "");
    if (/^\s*(#|static_assert|template|using|struct|namespace|extern|constexpr int k)/.test(code)) continue;
    for (const [from, to] of exchanges) {
      for (const match of code.matchAll(new RegExp(from, "g"))) {
        const after = before.slice(0, match.index) + to + before.slice(match.index + match[0].length);
        yield { file, line: i + 1, before: before.trim(), after: after.trim(), text: lines.with(i, after).join("\n") };
      }
    }
  }
}

/** Builds an emulator with a file replaced and runs jobs on it. Undefined if it does not build. */
async function runOn(file: string, text: string, jobs?: readonly JobRecord[]): Promise<string | undefined> {
  const { options } = places.get(file)!;
  const temporary = await Deno.makeTempDir({ prefix: "yamoe-mutant-" });
  try {
    const library = await buildMutant(options, { path: folder + file, text }, temporary);
    if (!library) return undefined;
    const script = new URL("./mutant.ts", import.meta.url).pathname;
    const run = [Deno.execPath(), "run", "-A", script, `${options.arch}`, library];
    if (jobs) run.push(JSON.stringify(jobs));
    // The emulator ends what accesses memory for ever. What does not even do that is ended by the seconds it computes: the time
    // that passes says little on a machine that others use too.
    const command = new Deno.Command("sh", {
      args: ["-c", `ulimit -S -t 120; exec "$@"`, "sh", ...run],
      stdout: "piped",
      stderr: "null",
    });
    const { stdout, signal, code } = await command.output();
    if (signal) return signal;
    const said = new TextDecoder().decode(stdout).trim();
    return said || `crash: exit code ${code}`;
  } finally {
    await Deno.remove(temporary, { recursive: true });
  }
}

/** What the kernels as they are make of every job of a file's architecture. */
async function runUnchanged(file: string): Promise<JobRecord[]> {
  const said = await runOn(file, await Deno.readTextFile(folder + file));
  const lines = said?.split("\n") ?? [];
  const wrong = lines.find((line) => !line.startsWith("{"));
  if (wrong !== undefined || lines.length === 0) throw new Error(`The kernels as they are: ${wrong}`);
  return lines.map((line) => JSON.parse(line)).sort((a, b) => a.milliseconds - b.milliseconds);
}

/** The jobs that reach a file, the fastest first. */
async function jobsOf(file: string): Promise<JobRecord[]> {
  const { options, sources } = places.get(file)!;
  const kernels = new Set((await Promise.all(sources.map((source) => kernelNames(source, options)))).flat());
  return unchanged.get(options.arch)!.filter((record) => record.kernels.some((kernel) => kernels.has(kernel)));
}

const outcomes = {
  unbuilt: "do not compile",
  check: "caught by a check",
  result: "caught by the result",
  endless: "caught as they never end",
  crash: "caught by a crash",
  explained: "explained",
  survived: "unexplained",
};
type Outcome = keyof typeof outcomes;

function isCrash(said: string | undefined): boolean {
  return said !== undefined && /^(SIG|crash)/.test(said);
}

function outcomeOf(said: string | undefined): Outcome {
  if (said === undefined) return "unbuilt";
  if (said === "SIGXCPU" || said.includes("accesses, barriers and collectives")) return "endless";
  if (isCrash(said)) return "crash";
  return said.startsWith("check: ") ? "check" : said.startsWith("result: ") ? "result" : "survived";
}

const { log, _: names, ...flags } = parseArgs(Deno.args, { string: ["every", "workers", "log"] }) as {
  log?: string;
  every?: string;
  workers?: string;
  _: (string | number)[];
};
const count = (name: string, text: string) => {
  if (!/^[1-9]\d*$/.test(text)) throw new RangeError(`--${name} must be a whole number above zero, got ${text}`);
  return Number(text);
};
const every = count("every", flags.every ?? "1");
const workers = count("workers", flags.workers ?? String(navigator.hardwareConcurrency));
const files = names.length ? names.map(String) : [...places.keys()].sort();
const unknown = files.find((file) => !places.has(file));
if (unknown !== undefined) {
  throw new RangeError(`A file must be one of ${[...places.keys()].sort().join(", ")}, got ${unknown}`);
}

/** Explanations that no survivor has taken yet. */
const open = explanations.flatMap(({ after, ...rest }) => after.map((after) => ({ ...rest, after })));
const counts = new Map(files.map((file) => [file, new Map<Outcome, number>()]));

async function judge({ file, line, before, after, text }: Mutant): Promise<void> {
  const jobs = await jobsOf(file);
  let said = await runOn(file, text, jobs);
  // Perhaps somebody else ended it, or the machine stood still: twice is no accident.
  if (isCrash(said)) said = await runOn(file, text, jobs);
  let outcome = outcomeOf(said);
  const place = `${file}:${line}\n  - ${before}\n  + ${after}`;
  if (outcome === "survived") {
    const found = open.findIndex((it) => it.file === file && it.before === before && it.after === after);
    if (found < 0) {
      console.log(`SURVIVOR ${place}`);
    } else {
      outcome = "explained";
      open.splice(found, 1);
    }
  }
  if (log) await Deno.writeTextFile(log, `${outcome} ${place}\n  ${said}\n`, { append: true });
  const count = counts.get(file)!;
  count.set(outcome, (count.get(outcome) ?? 0) + 1);
}

/** A file of each architecture that is needed, and what its jobs make of the kernels as they are. */
const samples = new Map(files.map((file) => [places.get(file)!.options.arch, file]));
const unchanged = new Map<number, JobRecord[]>();
for (const [arch, file] of samples) unchanged.set(arch, await runUnchanged(file));
const queue = files.flatMap((file) => [...mutants(file)]).filter((_, i) => i % every === 0);
await Promise.all(Array.from({ length: workers }, async () => {
  for (let mutant = queue.shift(); mutant; mutant = queue.shift()) await judge(mutant);
}));

// What caught the mutants must have been their faults, not a change to the files meanwhile.
const digests = (records: readonly JobRecord[]) => records.map(({ name, digest }) => `${name} ${digest}`).sort().join();
for (const [arch, file] of samples) {
  if (digests(await runUnchanged(file)) !== digests(unchanged.get(arch)!)) {
    throw new Error("The kernels have changed meanwhile");
  }
}

const total = (counts: Iterable<ReadonlyMap<Outcome, number>>) =>
  Object.entries(outcomes).map(([outcome, text]) => {
    const count = [...counts].reduce((sum, of) => sum + (of.get(outcome as Outcome) ?? 0), 0);
    return `${count} ${text}`;
  }).join(", ");
for (const [file, count] of counts) console.log(`${file}: ${total([count])}`);
console.log(`All: ${total([...counts.values()])}`);
// An explanation that fits no survivor explains something that is gone, or is caught by now.
const stale = every === 1 ? open.filter(({ file }) => files.includes(file) || !places.has(file)) : [];
for (const { file, before, after } of stale) console.log(`STALE ${file}\n  - ${before}\n  + ${after}`);
if (stale.length > 0 || [...counts.values()].some((count) => count.get("survived"))) Deno.exit(1);
