// The flags that say which job, and where it runs; several commands have them.
import type { Backend, BackendName } from "../backend/backend.ts";
import { openBackend } from "../open_backend.ts";
import type { WorkerPool } from "../wasm/worker_pool.ts";
import { gateUpColumns } from "../contract/experts_sizes.ts";
import { type PresetName, presets } from "../models/presets.ts";
import { resolveRouter } from "../routing/router.ts";
import { type Job, type JobChanges, makeJob } from "../workload/workload.ts";
import { printNote } from "./command.ts";
import { choice, type Flag, type FlagValues, integer, UsageError } from "./flags.ts";

const maxSize = 2 ** 31 - 1;

/** The sort counts assignments, and sums of them, in 32 bits. */
const maxAssignments = 2 ** 30;

/** Past any machine's memory; what this one has is checked where the memory is taken. */
const maxElements = 2 ** 40;

const capacity: Flag<number | null> = {
  value: "N|none",
  summary: "Most tokens an expert takes; none drops nothing (default: the preset's, --seq or none)",
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

/** A flag for a preset, with the one that holds without it. */
export function presetFlag(standard: PresetName): Flag<PresetName> {
  const names = Object.keys(presets) as PresetName[];
  return choice("NAME", `Layer to begin from; "yamoe presets" lists them (default: ${standard})`, names);
}

/** Flags for the sizes of a job. */
export const jobFlags = {
  batch: integer("N", "Sequences", 1, maxSize),
  seq: integer("N", "Tokens a sequence", 1, maxSize),
  tokens: integer("N", "One sequence of N tokens, in place of --batch and --seq", 1, maxSize),
  hidden: integer("N", "Hidden size", 1, maxSize),
  intermediate: integer("N", "Intermediate size (default: the preset's, or --hidden)", 1, maxSize),
  experts: integer("N", "Experts", 1, maxSize),
  "top-k": integer("N", "Experts a token goes to", 1, maxSize),
  capacity,
  dtype: choice("NAME", "Element type of all tensors (default: f16)", ["f16", "bf16", "f32"] as const),
  seed,
};

const blas: Flag<string> = {
  value: "auto|PATH|none",
  summary: "BLAS library for the CPU; auto: one that is found, with --allow-ffi (default: auto)",
  parse: (text) => text,
};

/** Flags for where a job runs. */
export const backendFlags = {
  backend: choice("NAME", "Where to run: auto, cuda or cpu (default: auto)", ["auto", "cuda", "cpu"] as const),
  device: integer("N", "Which GPU, counted from 0 (default: 0)", 0, 1023),
  threads: integer("N", "CPU threads (default: all cores)", 1, 1024),
  blas,
};

/** Opens the backend that the flags name; says why where it is the CPU for want of a GPU. */
export function backendFromFlags(
  { backend = "auto", device, blas }: {
    backend?: BackendName | "auto";
    device?: number | undefined;
    blas?: string | undefined;
  },
  engine: WorkerPool,
  note: (line: string) => void = printNote,
): Promise<Backend> {
  const onFallback = (reason: string) => note(`On the CPU. ${reason}`);
  return openBackend(backend, { pool: engine, device, blas, onFallback });
}

/**
 * Makes the job that the flags describe.
 *
 * @throws {UsageError} If there can be no such job.
 */
export function jobFromFlags(preset: PresetName, flags: FlagValues<typeof jobFlags>): Job {
  const job = requestedJob(preset, flags);
  checkJob(job);
  return job;
}

/** Makes the job that the flags describe, whether or not it can be run: see {@linkcode checkJob}. */
export function requestedJob(preset: PresetName, flags: FlagValues<typeof jobFlags>): Job {
  const { hidden, intermediate, experts, "top-k": topK, capacity, dtype, seed } = flags;
  return makeJob(preset, { ...tokenCounts(flags), hidden, intermediate, experts, topK, capacity, dtype, seed });
}

function tokenCounts({ tokens, batch, seq }: FlagValues<typeof jobFlags>): Pick<JobChanges, "batch" | "seq"> {
  if (tokens === undefined) return { batch, seq };
  for (const [name, value] of Object.entries({ batch, seq })) {
    if (value !== undefined) throw new UsageError(`--tokens means one sequence, so --${name} cannot be given as well`);
  }
  return { batch: 1, seq: tokens };
}

/**
 * Checks that a job can be run.
 *
 * @throws {UsageError} If its sizes do not go together or are too large for any machine.
 * @throws {RangeError} If its router cannot route to so many experts.
 */
export function checkJob(job: Job): void {
  const { batch, seq, hidden, experts, topK, router } = job;
  if (topK > experts) {
    throw new UsageError(`--top-k must be at most the number of experts, ${experts}, got "${topK}"`);
  }
  const { onInput } = resolveRouter({ ...router, topK, correctionBias: undefined }, experts);
  if (onInput && topK > 1) {
    throw new UsageError(`--top-k must be 1 for a router that weighs the experts' input, got "${topK}"`);
  }
  const assignments = batch * seq * topK;
  if (assignments > maxAssignments) {
    throw new UsageError(`Batch x seq x top-k must be at most ${maxAssignments}, got ${assignments}`);
  }
  const largest = Math.max(batch * seq * Math.max(hidden, experts), experts * hidden * gateUpColumns(job));
  if (largest > maxElements) {
    throw new UsageError(
      `The job's tensors must have at most ${maxElements} elements, the largest would have ${largest}`,
    );
  }
}
