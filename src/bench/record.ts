/**
 * Records: what a benchmark keeps of each configuration, and what its files contain.
 *
 * @module
 */
import { type BackendDetails, noDetails } from "../backend/details.ts";
import { describeFormats } from "../contract/weights.ts";
import { jobFormats } from "../workload/drawn_weights.ts";
import type { Job } from "../workload/workload.ts";
import type { ThreeLines } from "./against.ts";
import {
  type BenchRecord,
  type BenchResult,
  type FigureKey,
  figureKeys,
  type FiguresOf,
  jobKeys,
  schemaVersion,
} from "./figures.ts";
import { hints } from "./hints.ts";
import type { Provenance } from "./provenance.ts";

/** The record of a run that finished. */
export type FinishedRecord = BenchRecord & BenchResult;

/** Where a configuration was to run. The engine is unknown until the place is open. */
export type Place =
  & Pick<BenchRecord, "backend" | "device" | "threads">
  & Partial<Pick<BenchRecord, "gpus" | "exchange">>;

/** Returns what a record says of its job. */
export function jobFigures(job: Job): FiguresOf<"job"> {
  const figures: FiguresOf<"job"> = {
    ...job,
    router: job.router.kind,
    formats: describeFormats(jobFormats(job)),
    activationLimit: Number.isFinite(job.activationLimit) ? job.activationLimit : null,
  };
  return pick(figures, jobKeys);
}

/** Makes the record of a configuration that ran. */
export function finishedRecord(
  result: BenchResult,
  provenance: Provenance,
  details: BackendDetails,
): FinishedRecord {
  return inOrder({
    schema: schemaVersion,
    status: "ok",
    reason: null,
    ...result,
    hints: hints(result),
    ...provenance,
    ...details,
    time: now(),
  });
}

/** Makes the record of what another program printed. */
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

/** Makes the record of a configuration that did not run. */
export function failedRecord(job: Job, place: Place, reason: string, provenance: Provenance): BenchRecord {
  return emptyRecord("failed", job, place, reason, provenance);
}

/** Makes the record of a configuration that is still to run, with the memory that it is expected to take. */
export function plannedRecord(
  job: Job,
  place: Place,
  problem: string | null,
  provenance: Provenance,
  peakMemoryBytes: number,
): BenchRecord {
  const status = problem === null ? "planned" : "failed";
  return { ...emptyRecord(status, job, place, problem, provenance), peakMemoryBytes };
}

function emptyRecord(
  status: BenchRecord["status"],
  job: Job,
  place: Place,
  reason: string | null,
  provenance: Provenance,
): BenchRecord {
  const known = { ...jobFigures(job), gpus: null, exchange: null, ...place, engine: null };
  return inOrder({
    ...unknownResults,
    schema: schemaVersion,
    ...known,
    status,
    reason,
    hints: [],
    ...provenance,
    ...noDetails,
    time: now(),
  });
}

function now(): string {
  return new Date().toISOString();
}

const unknownResults = Object.fromEntries(figureKeys.map((key) => [key, null])) as {
  [Key in keyof FiguresOf<"result">]: null;
};

function inOrder<Type extends BenchRecord>(record: Type): Pick<Type, FigureKey> {
  return pick(record, figureKeys);
}

/** Returns the members of an object that have the given names, in the order of the names. */
function pick<Type extends { readonly [Key in Names]: unknown }, Names extends FigureKey>(
  object: Type,
  names: readonly Names[],
): Pick<Type, Names> {
  return Object.fromEntries(names.map((name) => [name, object[name]])) as Pick<Type, Names>;
}
