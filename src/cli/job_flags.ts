// The flags for the job and for where it runs. Several commands have them.
import { activationRules } from "../contract/activations.ts";
import type { Backend, BackendName } from "../backend/backend.ts";
import { gateUpColumns } from "../contract/experts_sizes.ts";
import type { Preset } from "../models/preset.ts";
import { type PresetName, presets } from "../models/presets.ts";
import { openBackend } from "../open_backend.ts";
import { resolveRouter } from "../routing/router.ts";
import { maximumThreads } from "../wasm/threads.ts";
import type { WorkerPool } from "../wasm/worker_pool.ts";
import { type Job, type JobChanges, makeJobOf, ownExperts } from "../workload/workload.ts";
import { areDrawn, inputUnits } from "../workload/drawn_weights.ts";
import { printNote } from "./command.ts";
import { choice, ExpectationError, type Flag, type FlagValues, integer, orNone } from "./flags.ts";
import { asUsage, UsageError } from "./usage_error.ts";

const maxSize = 2 ** 31 - 1;

/** The sort counts assignments, and sums of them, in 32 bits. */
const maxAssignments = 2 ** 30;

/** More elements than any machine has memory for. The memory of this machine is checked separately. */
const maxElements = 2 ** 40;

/** The seed has 64 bits and may be a bigint. */
const seed: Flag<number | bigint> = {
  value: "N",
  summary: "Seed of PyTorch's generator, 0 to 2^64 - 1 (default: 0)",
  parse(text) {
    if (!/^\d+$/.test(text) || BigInt(text) >= 1n << 64n) {
      throw new ExpectationError("an integer from 0 to 18446744073709551615");
    }
    return Number.isSafeInteger(Number(text)) ? Number(text) : BigInt(text);
  },
};

/** Makes a flag for a preset, with its default. */
export function presetFlag(standard: PresetName): Flag<PresetName> {
  const names = Object.keys(presets) as PresetName[];
  return choice("NAME", `Preset that the job starts from (default: ${standard})`, names);
}

/** Flags for the sizes of a job. */
export const jobFlags = {
  batch: integer("N", "Number of sequences", 1, maxSize),
  seq: integer("N", "Tokens per sequence", 1, maxSize),
  tokens: integer("N", "One sequence of N tokens, instead of --batch and --seq", 1, maxSize),
  hidden: integer("N", "Hidden size", 1, maxSize),
  intermediate: integer("N", "Intermediate size (default: the preset's, or --hidden)", 1, maxSize),
  experts: integer("N", "Number of experts", 1, maxSize),
  "top-k": integer("N", "Experts per token", 1, maxSize),
  capacity: orNone(
    integer("N", "Maximum tokens per expert; none drops nothing (default: the preset's, --seq or none)", 1, maxSize),
  ),
  dtype: choice("NAME", "Dtype of all tensors (default: f16)", ["f16", "bf16", "f32"] as const),
  seed,
};

/** Flags for where a job runs. */
export const backendFlags = {
  backend: choice("NAME", "Where to run (default: auto)", ["auto", "cuda", "cpu"] as const),
  device: integer("N", "GPU, counted from 0 (default: 0)", 0, 1023),
  threads: integer("N", "CPU threads (default: all cores)", 1, maximumThreads),
  blas: {
    value: "auto|PATH|none",
    summary: "BLAS library for the CPU; auto uses an installed one, with --allow-ffi (default: auto)",
    file: true,
    parse: (text) => text,
  } satisfies Flag<string>,
};

/** Opens the backend that the flags name. Notes why it is the CPU if no GPU can be used. */
export function backendFromFlags(
  { backend = "auto", device, blas }: {
    backend?: BackendName | "auto";
    device?: number | undefined;
    blas?: string | undefined;
  },
  pool: WorkerPool,
  note: (line: string) => void = printNote,
): Promise<Backend> {
  const onFallback = (reason: string) => note(`Using the CPU: ${reason}`);
  return asUsage(() => openBackend(backend, { pool, device, blas, onFallback }));
}

/**
 * Makes the job that the flags describe.
 *
 * @throws {UsageError} If the sizes do not fit together.
 */
export function jobFromFlags(preset: PresetName, flags: FlagValues<typeof jobFlags>, changes: JobChanges = {}): Job {
  const job = requestedJob(preset, presets[preset], flags, changes);
  checkJob(job);
  return job;
}

/** Makes the job that the flags describe without checking it: see {@linkcode checkJob}. */
export function requestedJob(
  name: string,
  preset: Preset,
  flags: FlagValues<typeof jobFlags>,
  changes: JobChanges = {},
): Job {
  const { tokens, batch, seq, hidden, intermediate, experts, "top-k": topK, capacity, dtype, seed } = flags;
  const counts = tokenCounts({ tokens, batch, seq });
  const sizes = { ...counts, hidden, intermediate, experts, topK, capacity, dtype, seed };
  return makeJobOf(name, preset, { ...sizes, ...changes });
}

function tokenCounts(
  { tokens, batch, seq }: Pick<JobChanges, "batch" | "seq"> & { readonly tokens: number | undefined },
): Pick<JobChanges, "batch" | "seq"> {
  if (tokens === undefined) return { batch, seq };
  for (const [name, value] of Object.entries({ batch, seq })) {
    if (value !== undefined) throw new UsageError(`--tokens means one sequence, so --${name} cannot be given as well`);
  }
  return { batch: 1, seq: tokens };
}

/**
 * Checks that a job can run.
 *
 * @throws {UsageError} If the sizes do not fit together or are too large for any machine.
 */
export function checkJob(job: Job): void {
  const { batch, seq, hidden, experts, topK, router } = job;
  if (topK > experts) {
    throw new UsageError(`--top-k must be at most the number of experts, ${experts}, got "${topK}"`);
  }
  const onInput = (() => {
    try {
      return resolveRouter({ ...router, topK, correctionBias: undefined }, experts).onInput;
    } catch (error) {
      throw error instanceof RangeError ? new UsageError(error.message) : error;
    }
  })();
  if (onInput && topK > 1) {
    throw new UsageError(`--top-k must be 1 for a router that scales the input of the experts, got "${topK}"`);
  }
  checkLayer(job);
  const assignments = batch * seq * topK;
  if (assignments > maxAssignments) {
    throw new UsageError(`Batch x seq x top-k must be at most ${maxAssignments}, got ${assignments}`);
  }
  const largest = Math.max(
    batch * seq * Math.max(hidden, experts),
    ownExperts(job).experts * hidden * gateUpColumns(job),
  );
  if (largest > maxElements) {
    throw new UsageError(
      `The job's tensors must have at most ${maxElements} elements, the largest would have ${largest}`,
    );
  }
}

/** Checks that what is timed fits the layer. */
function checkLayer(job: Job): void {
  const { op, weights, hiddenFile, skew, ep, experts, activation, gated } = job;
  checkInputs(job);
  const isDrawn = op === "experts" && areDrawn(weights) && hiddenFile === null;
  if (!isDrawn && skew !== 0) {
    throw new UsageError(
      "--skew needs drawn logits: with --op moe, --weights DIR or --hidden FILE, the router decides",
    );
  }
  if (!isDrawn && ep > 1) throw new UsageError("--ep needs --op experts with drawn weights and hidden states");
  if (experts % ep !== 0) throw new UsageError(`--ep must divide the number of experts, ${experts}, got "${ep}"`);
  if (!gated && !activationRules[activation].ungated) {
    throw new UsageError(`--activation must work without a gate for this layer, got "${activation}"`);
  }
}

/** Checks that packed weights can have as many inputs as the layer. */
function checkInputs({ weights, hidden, intermediate }: Job): void {
  const unit = areDrawn(weights) ? inputUnits[weights] : 1;
  for (const [name, size] of Object.entries({ hidden, intermediate })) {
    if (size % unit !== 0) {
      throw new UsageError(`--${name} must be a multiple of ${unit} for weights in ${weights}, got "${size}"`);
    }
  }
}
