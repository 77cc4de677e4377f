/**
 * Records: what a benchmark keeps of each configuration, and what its files hold.
 *
 * @module
 */
import type { ThreeLines } from "./against.ts";
import { type BackendDetails, noDetails } from "../backend/details.ts";
import type { BenchResult } from "./bench.ts";
import { hints } from "./hints.ts";
import type { Provenance } from "./provenance.ts";
import { version } from "../version.ts";
import type { Job } from "../workload/workload.ts";

/** What happened to a configuration. */
export type RecordStatus = "ok" | "failed" | "planned";

/** One configuration's figures and where they come from: flat, one key a figure, in every format the same. */
export type BenchRecord = Figures & Provenance & BackendDetails;

/** A record's figures. Those that a failure left unknown are null. */
type Figures =
  & { readonly status: RecordStatus; readonly reason: string | null; readonly hints: readonly string[] }
  & JobFigures
  & { readonly [Key in Exclude<keyof BenchResult, keyof Job>]: BenchResult[Key] | null };

/** What a record says of its job. */
type JobFigures = Pick<Job, typeof jobKeys[number]> & {
  /** The router's kind. */
  readonly router: string;
};

const jobKeys = [
  ...["preset", "batch", "seq", "hidden", "intermediate", "experts", "topK", "capacity", "dtype", "seed"] as const,
  ...["activation", "biases", "sharedIntermediate"] as const,
];

function jobFigures(job: Job): JobFigures {
  const figures = Object.fromEntries(jobKeys.map((key) => [key, job[key]])) as unknown as JobFigures;
  return { ...figures, router: job.router.kind };
}

/** What a configuration was to run on. */
export interface Place {
  readonly backend: string;
  readonly device: string | null;
  readonly threads: number | null;
}

/** The record of a configuration that ran. */
export function finishedRecord(result: BenchResult, provenance: Provenance, details: BackendDetails): BenchRecord {
  const figures = { ...result, ...jobFigures(result), hints: hints(result) };
  return inOrder({ status: "ok", reason: null, ...figures, ...provenance, ...details });
}

/** The record of what another program printed. */
export function externalRecord(job: Job, command: string, lines: ThreeLines, provenance: Provenance): BenchRecord {
  const { kernelTimeMs } = lines;
  const times = {
    kernelTimesMs: [kernelTimeMs],
    minTimeMs: kernelTimeMs,
    maxTimeMs: kernelTimeMs,
    meanTimeMs: kernelTimeMs,
  };
  const tokensPerSecond = job.batch * job.seq / kernelTimeMs * 1000;
  const place = { backend: "external", device: command, threads: null };
  return { ...emptyRecord("ok", job, place, null, provenance), ...lines, ...times, iters: 1, tokensPerSecond };
}

/** The record of a configuration that did not. */
export function failedRecord(job: Job, place: Place, reason: string, provenance: Provenance): BenchRecord {
  return emptyRecord("failed", job, place, reason, provenance);
}

/** The record of a configuration that is still to be run, and how much memory it should take. */
export function plannedRecord(
  job: Job,
  place: Place,
  problem: string | null,
  provenance: Provenance,
  peakMemoryMb: number,
): BenchRecord {
  return { ...emptyRecord(problem === null ? "planned" : "failed", job, place, problem, provenance), peakMemoryMb };
}

function emptyRecord(
  status: RecordStatus,
  job: Job,
  place: Place,
  reason: string | null,
  provenance: Provenance,
): BenchRecord {
  const figures = { ...blank, ...jobFigures(job), ...place, version, time: new Date().toISOString() };
  return inOrder({ ...figures, status, reason, hints: [], ...provenance, ...noDetails });
}

/** The keys of a record, in the order in which tables and files have them. */
export const recordKeys: readonly (keyof BenchRecord)[] = [
  ...["status", "reason"] as const,
  ...jobKeys,
  "router",
  ...["backend", "device", "threads", "engine", "warmup", "iters"] as const,
  ...["assignments", "kept", "dropped", "droppedFraction", "tokensPerExpert", "imbalance"] as const,
  ...["outputSum", "outputAbsSum", "outputMin", "outputMax", "outputFirst", "verifyError", "verifiedTokens"] as const,
  ...["kernelTimeMs", "kernelTimesMs", "minTimeMs", "maxTimeMs", "meanTimeMs", "madMs", "iqrMs"] as const,
  ...["medianIntervalMs", "noise", "outliers", "drift", "converged", "coldTimeMs", "backToBackTimeMs"] as const,
  ...["wallTimeMs", "generateTimeMs", "uploadTimeMs", "peakMemoryMb"] as const,
  ...["tflops", "gigabytesPerSecond", "tokensPerSecond", "intensity"] as const,
  ...["peakTflops", "peakGigabytesPerSecond", "peakSource", "percentOfPeak", "boundBy", "hints"] as const,
  ...["version", "denoVersion", "gitCommit", "gitDirty", "driver", "cubin", "cubinSha256"] as const,
  ...["deviceUuid", "multiprocessors", "clockMhz", "memoryClockMhz", "deviceMemoryBytes"] as const,
  ...["os", "arch", "cpu", "cores", "memoryBytes", "commandLine", "time"] as const,
];

/** A figure for every key, none of them known. */
const blank = Object.fromEntries(recordKeys.map((key) => [key, null])) as { [Key in keyof BenchResult]: null };

function inOrder(record: BenchRecord): BenchRecord {
  return Object.fromEntries(recordKeys.map((key) => [key, record[key]])) as unknown as BenchRecord;
}
