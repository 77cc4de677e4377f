// The flags that say which job, and where it runs; several commands have them.
import { type Backend, type BackendName, openBackend } from "../backend.ts";
import type { Engine } from "../wasm/engine.ts";
import { type Job, type JobChanges, makeJob, presets } from "../workload.ts";
import { printNote } from "./command.ts";
import { choice, type Flag, integer, UsageError } from "./flags.ts";

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

type PresetName = keyof typeof presets;

/** A flag for a preset, with the one that holds without it. */
export function presetFlag(standard: PresetName): Flag<PresetName> {
  const names = Object.keys(presets) as PresetName[];
  return choice("NAME", `Sizes to begin from: ${names.join(", ")} (default: ${standard})`, names);
}

/** Flags for the sizes of a job. */
export const jobFlags = {
  batch: integer("N", "Sequences", 1, maxSize),
  seq: integer("N", "Tokens a sequence", 1, maxSize),
  hidden: integer("N", "Hidden size", 1, maxSize),
  intermediate: integer("N", "Intermediate size (default: --hidden)", 1, maxSize),
  experts: integer("N", "Experts", 1, maxSize),
  "top-k": integer("N", "Experts a token goes to", 1, maxSize),
  capacity,
  seed,
};

/** Flags for where a job runs. */
export const backendFlags = {
  backend: choice("NAME", "Where to run: auto, cuda or cpu (default: auto)", ["auto", "cuda", "cpu"] as const),
  device: integer("N", "Which GPU, counted from 0 (default: 0)", 0, 1023),
  threads: integer("N", "CPU threads (default: all cores)", 1, 1024),
};

/** Opens the backend that the flags name; says why where it is the CPU for want of a GPU. */
export function backendFromFlags(
  { backend = "auto", device }: { backend?: BackendName | "auto"; device?: number },
  engine: Engine,
): Promise<Backend> {
  const onFallback = (reason: string) => printNote(`On the CPU. ${reason}`);
  return openBackend(backend, { engine, device, onFallback });
}

/**
 * Makes the job that the flags describe.
 *
 * @throws {UsageError} If there can be no such job.
 */
export function jobFromFlags(preset: PresetName, { "top-k": topK, ...flags }: JobChanges & { "top-k"?: number }): Job {
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
