/**
 * The benchmark: the time, memory and output of a synthetic job.
 *
 * @module
 */
import type { Backend } from "../backend/backend.ts";
import type { WorkerPool } from "../wasm/worker_pool.ts";
import type { Job } from "../workload/workload.ts";
import type { BenchResult } from "./figures.ts";
import { expectProfile, profileCall } from "./profile.ts";
import { otherTimes } from "./other_times.ts";
import { PreparedJob } from "./prepared_job.ts";
import { measuredShares } from "./rates.ts";
import { repeat, type StopRule, warmUp } from "./series.ts";

/** Options of {@linkcode bench}. */
export interface BenchOptions {
  /** Calls before the timed ones: a number, or `"steady"` to continue until two in a row agree. */
  readonly warmup: number | "steady";
  /** Timed calls, at least 1. With a stop rule, the minimum number of calls. */
  readonly iters: number;
  /** When to end the timed calls. The default is after `iters`. */
  readonly stop?: StopRule | undefined;
  /** Whether to check some rows of the output against float64 before the timed calls. */
  readonly verify?: boolean | undefined;
  /** Whether to also measure cold caches, calls without a pause, and the device's peaks, where that is possible. */
  readonly thorough?: boolean | undefined;
  /** Whether to also measure each kernel of a call. Only a GPU can. */
  readonly profile?: boolean | undefined;
  /** Called when a phase begins and while it runs. */
  readonly onProgress?: (phase: string, fraction: number) => void;
}

/**
 * Runs a job: draws its inputs, calls the op, checks the output and measures the time.
 *
 * @param job The sizes and the seed.
 * @param backend The backend to measure.
 * @param pool The worker pool that draws the inputs and sums the output.
 * @param options The number of calls, when to stop, and a progress callback.
 * @returns The figures.
 * @throws {MismatchError} If the output differs from the float64 result.
 */
export async function bench(
  job: Job,
  backend: Backend,
  pool: WorkerPool,
  options: BenchOptions,
): Promise<BenchResult> {
  const { warmup, iters, stop, thorough = false, profile = false, onProgress = () => {} } = options;
  if (profile) expectProfile(backend);
  using prepared = await PreparedJob.open(job, backend, pool, options);
  const call = (phase: string) => (done: number, share: number) =>
    prepared.call((fraction) => onProgress(phase, Math.min(1, done + fraction * share)));
  prepared.start();
  const warm = await warmUp(warmup, call("Warm-up"));
  await backend.synchronize();
  prepared.start();
  const series = await repeat(iters, stop, call("Timed runs"));
  const result = prepared.result(series, warm.length);
  const run = () => prepared.timed.run();
  const { shape: { dtype }, tokensPerExpert } = prepared.timed;
  const active = tokensPerExpert.filter((count) => count > 0).length;
  const kernels = profile ? { profile: await profileCall(backend, run, await backend.peakRates(dtype), active) } : {};
  if (!thorough) return { ...result, ...kernels };
  const calls = {
    ...{ count: result.iters, isolatedMs: result.kernelTimeMs },
    capturable: prepared.timed.over?.exchange !== "assignments", // the host needs the counts of each call
  };
  const other = await otherTimes(backend, calls, run);
  return { ...result, ...kernels, ...other, ...await measuredShares(backend, dtype, result) };
}
