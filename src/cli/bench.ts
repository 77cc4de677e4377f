import { openBackend } from "../backend.ts";
import { bench } from "../bench.ts";
import { toJson } from "../report/json.ts";
import { runNotes, threeLines } from "../report/text.ts";
import { version } from "../version.ts";
import { Engine } from "../wasm/engine.ts";
import { type Job, jobBytes, type JobChanges, makeJob, presets } from "../workload.ts";
import { command, exitCode, printData, printNote } from "./command.ts";
import { choice, type Flag, integer, toggle, UsageError } from "./flags.ts";
import { ProgressBar } from "./progress.ts";

const maxSize = 2 ** 31 - 1;

/** The sort counts assignments, and sums of them, in 32 bits. */
const maxAssignments = 2 ** 30;

/** What a typed array of this engine can hold. */
const maxElements = 2 ** 33;

const capacity: Flag<number | null> = {
  value: "N|none",
  summary: "Most tokens an expert takes; none drops nothing (default: --seq)",
  parse(text) {
    if (text === "none") return null;
    if (/^\d+$/.test(text) && Number(text) >= 1 && Number(text) <= maxSize) return Number(text);
    throw new Error(`an integer from 1 to ${maxSize}, or "none"`);
  },
};

const seed: Flag<number | bigint> = {
  value: "N",
  summary: "Seed of PyTorch's generator, 0 to 2^64 - 1 (default: 0)",
  parse(text) {
    if (!/^\d+$/.test(text) || BigInt(text) >= 1n << 64n) throw new Error("an integer from 0 to 18446744073709551615");
    return Number.isSafeInteger(Number(text)) ? Number(text) : BigInt(text);
  },
};

export default command({
  summary: "Run a synthetic job and print its output sum, time and memory",
  flags: {
    preset: choice(
      "NAME",
      `Sizes to begin from: ${Object.keys(presets).join(", ")} (default: reference)`,
      Object.keys(presets) as (keyof typeof presets)[],
    ),
    batch: integer("N", "Sequences", 1, maxSize),
    seq: integer("N", "Tokens a sequence", 1, maxSize),
    hidden: integer("N", "Hidden size", 1, maxSize),
    intermediate: integer("N", "Intermediate size (default: --hidden)", 1, maxSize),
    experts: integer("N", "Experts", 1, maxSize),
    "top-k": integer("N", "Experts a token goes to", 1, maxSize),
    capacity,
    seed,
    warmup: integer("N", "Calls before the timed ones (default: 0 on the CPU, 5 on a GPU)", 0, 1_000_000),
    iters: integer("N", "Timed calls (default: 1)", 1, 1_000_000),
    backend: choice("NAME", "Where to run: auto, cuda or cpu (default: auto)", ["auto", "cuda", "cpu"] as const),
    threads: integer("N", "CPU threads (default: all cores)", 1, 1024),
    json: toggle("Print one JSON object instead of three lines"),
  },
  examples: {
    "yamoe bench": "The reference job: 262,144 tokens, 32 experts, top 4",
    "yamoe bench --preset small --iters 5": "A job of seconds, the median of five calls",
    "yamoe bench --preset tiny --capacity none --json": "Nothing dropped; every figure, for a script",
  },
  async run(values) {
    const job = jobFromFlags(values);
    using engine = new Engine(values.threads);
    using backend = await openBackend(values.backend ?? "auto", { engine });
    const onCpu = backend.name === "cpu";
    const need = jobBytes(job);
    const free = onCpu ? freeMemory() : undefined;
    if (free !== undefined && free < need) {
      throw new UsageError(`The job needs ${gib(need)} of memory, and ${gib(free)} are free; make it smaller`);
    }
    printNote(describe(job));
    printNote(
      `On ${backend.device}${onCpu ? `, ${plural(engine.threads, "thread")}` : ""}; needs ${gib(need)} of memory`,
    );

    using progress = new ProgressBar();
    const result = await bench(job, backend, engine, {
      warmup: values.warmup ?? (onCpu ? 0 : 5),
      iters: values.iters ?? 1,
      onProgress: (phase, fraction) => progress.show(phase, fraction),
    });
    progress[Symbol.dispose]();
    if (values.json) {
      printData(toJson(result));
    } else {
      threeLines(result).forEach(printData);
    }
    runNotes(result).forEach(printNote);
    return exitCode.done;
  },
});

type JobFlags = JobChanges & { preset?: keyof typeof presets; "top-k"?: number };

function jobFromFlags({ preset = "reference", "top-k": topK, ...flags }: JobFlags): Job {
  const { batch, seq, hidden, intermediate, experts, capacity, seed } = flags;
  const job = makeJob(preset, { batch, seq, hidden, intermediate, experts, topK, capacity, seed });
  checkJob(job);
  return job;
}

function checkJob({ batch, seq, hidden, intermediate, experts, topK }: Job): void {
  if (topK > experts) {
    throw new UsageError(`--top-k must be at most the number of experts, ${experts}, got "${topK}"`);
  }
  const assignments = batch * seq * topK;
  if (assignments > maxAssignments) {
    throw new UsageError(`Batch x seq x top-k must be at most ${maxAssignments}, got ${assignments}`);
  }
  const largest = Math.max(batch * seq * Math.max(hidden, experts), experts * hidden * 2 * intermediate);
  if (largest > maxElements) {
    throw new UsageError(
      `The job's tensors must have at most ${maxElements} elements, the largest would have ${largest}`,
    );
  }
}

function describe(job: Job): string {
  const { preset, batch, seq, hidden, intermediate, experts, topK, capacity, seed } = job;
  return `yamoe ${version}, ${preset} job: ${batch} x ${seq} tokens, hidden ${hidden}, intermediate ${intermediate}, ` +
    `${plural(experts, "expert")}, top ${topK}, ${
      capacity === null ? "no capacity" : `capacity ${capacity}`
    }, seed ${seed}`;
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

function gib(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(bytes < 2 ** 30 ? 3 : 1)} GiB`;
}

/** Memory that is free here, where the permission to ask was given. */
function freeMemory(): number | undefined {
  const { state } = Deno.permissions.querySync({ name: "sys", kind: "systemMemoryInfo" });
  return state === "granted" ? Deno.systemMemoryInfo().available : undefined;
}
