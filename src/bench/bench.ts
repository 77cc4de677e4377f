/**
 * The benchmark: the time, memory and output of a synthetic job.
 *
 * @module
 */
import type { Backend, BackendTensor } from "../backend/backend.ts";
import { checkSample, MismatchError, sampleTolerance } from "../verify/sample.ts";
import type { WorkerPool } from "../wasm/worker_pool.ts";
import { type OutputSummary, summarizeOutput } from "../workload/output_summary.ts";
import { prepareCall, type TimedCall } from "../workload/timed_call.ts";
import type { Job } from "../workload/workload.ts";
import { watchGpu } from "./gpu_watch.ts";
import { watchMachine } from "./machine_load.ts";
import { measuredShares, rates, shares } from "./rates.ts";
import type { BenchResult } from "./figures.ts";
import { jobFigures } from "./record.ts";
import { type CallTimes, isLong, repeat, type Series, type StopRule, warmUp } from "./series.ts";
import { median, summarize, type Summary } from "./statistics.ts";

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
  /** Called when a phase begins and while it runs. */
  readonly onProgress?: (phase: string, fraction: number) => void;
}

/** The maximum number of calls with cold caches, and of calls without a pause. */
const maxModeCalls = 100;

/** The pause before a call that is to meet a rested GPU, in milliseconds, and the maximum number of such calls. */
const pauseMs = 50, maxPausedCalls = 10;

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
  const { warmup, iters, stop, verify = false, thorough = false, onProgress = () => {} } = options;
  onProgress("Inputs", 0);
  const generateStart = performance.now();
  using timed = await prepareCall(job, backend, pool, (fraction) => onProgress("Inputs", fraction));
  await backend.synchronize();
  const uploadTimeMs = backend.uploadMilliseconds;
  const generateTimeMs = performance.now() - generateStart - (uploadTimeMs ?? 0);

  const call = (phase: string, done: number, share: number) => {
    const report = (fraction: number) => onProgress(phase, Math.min(1, done + fraction * share));
    report(0);
    return timed.run(report);
  };
  let verified: { samples: number; error: number } | undefined;
  const check = async (output: BackendTensor) => {
    if (!verify || verified) return;
    onProgress("Check", 0);
    verified = await checkedSample(backend, timed, output);
  };
  let summary: OutputSummary | undefined;
  const timedCall = async (phase: string, done: number, share: number): Promise<CallTimes> => {
    const { result, ...times } = await backend.measure(() => call(phase, done, share));
    using output = result;
    await check(output);
    summary ??= await summarizeOutput(backend, pool, output);
    gpu.sample();
    return times;
  };

  backend.resetPeakMemory();
  let load = watchMachine();
  let gpu = watchGpu(backend.details.deviceUuid);
  const warm = await warmUp(warmup, (done, share) => timedCall("Warm-up", done, share));
  const isCold = warmup === "steady" && iters === 1 && !stop && warm.length === 1 && isLong(warm);
  let series: Series = { calls: warm, converged: null };
  if (!isCold) {
    await backend.synchronize();
    backend.resetPeakMemory();
    load = watchMachine();
    gpu = watchGpu(backend.details.deviceUuid);
    series = await repeat(iters, stop, (done, share) => timedCall("Timed runs", done, share));
  }
  const circumstances = { ...load(), ...gpu.figures(series.calls.length) };
  const peakMemoryBytes = backend.memory.peakBytes;
  const kernelTimesMs = series.calls.map(({ milliseconds }) => milliseconds);
  const statistics = summarize(kernelTimesMs);
  const other = thorough
    ? await otherModes(backend, statistics, () => timed.run())
    : undefined;

  const { shape, flops, bytes, kept, tokensPerExpert } = timed;
  const reached = rates({ tokens: shape.tokens, flops, bytes }, statistics.median);
  if (!summary) throw new RangeError(`A benchmark needs at least one timed call, got iters: ${iters}`);
  const assignments = tokensPerExpert.reduce((sum, count) => sum + count, 0);
  return {
    ...jobFigures(job),
    backend: backend.name,
    device: backend.device,
    threads: pool.threads,
    engine: backend.engine,
    warmup: isCold ? 0 : warm.length,
    iters: kernelTimesMs.length,
    assignments,
    kept,
    dropped: assignments - kept,
    droppedFraction: assignments > 0 ? 1 - kept / assignments : 0,
    tokensPerExpert: [...tokensPerExpert],
    imbalance: assignments > 0 ? Math.max(...tokensPerExpert) * tokensPerExpert.length / assignments : 1,
    ...summary,
    kernelTimeMs: statistics.median,
    kernelTimesMs,
    minTimeMs: statistics.min,
    maxTimeMs: statistics.max,
    meanTimeMs: statistics.mean,
    p95Ms: statistics.p95,
    p99Ms: statistics.p99,
    deviationMs: statistics.deviation,
    madMs: statistics.mad,
    iqrMs: statistics.iqr,
    medianIntervalMs: statistics.interval,
    noise: statistics.noise,
    outliers: statistics.outliers,
    drift: statistics.drift,
    converged: series.converged,
    ...circumstances,
    ...other ?? { coldTimeMs: null, pausedTimeMs: null, backToBackTimeMs: null },
    wallTimeMs: median(series.calls.map(({ wallMilliseconds }) => wallMilliseconds)),
    generateTimeMs,
    uploadTimeMs,
    peakMemoryBytes,
    ...reached,
    ...(thorough ? await measuredShares(backend, shape.dtype, reached) : shares(reached, undefined)),
    verifyError: verified?.error ?? null,
    verifiedTokens: verified?.samples ?? null,
  };
}

async function checkedSample(
  backend: Backend,
  { experts: { inputs, options } }: TimedCall,
  output: BackendTensor,
): Promise<{ samples: number; error: number }> {
  const check = await checkSample(backend, inputs, output, options, { tolerance: sampleTolerance });
  if (check.bad) throw new MismatchError(check);
  return check;
}

/** The times of a call in other circumstances. */
type OtherTimes = Pick<BenchResult, "coldTimeMs" | "pausedTimeMs" | "backToBackTimeMs">;

/** Measures the call with cold caches, after pauses, and many times without a pause. */
async function otherModes(
  backend: Backend,
  { count, median: isolatedMs }: Summary,
  run: () => Promise<BackendTensor>,
): Promise<OtherTimes | undefined> {
  if (!backend.flushCaches) return undefined;
  const calls = Math.min(count, maxModeCalls);
  const medianAfter = async (count: number, prepare: () => void | Promise<void>) => {
    const times: number[] = [];
    while (times.length < count) {
      await prepare();
      const { result, milliseconds } = await backend.measure(run);
      using _output = result;
      times.push(milliseconds);
    }
    return median(times);
  };
  const coldTimeMs = await medianAfter(calls, () => backend.flushCaches?.());
  const pause = () => new Promise<void>((resolve) => setTimeout(resolve, pauseMs));
  const pausedTimeMs = await medianAfter(Math.min(calls, maxPausedCalls), pause);
  const many = Math.max(calls, Math.min(maxModeCalls, Math.ceil(100 / isolatedMs)));
  const { milliseconds } = await backend.measure(async () => {
    for (let i = 0; i < many; i++) {
      using _output = await run();
    }
  });
  return { coldTimeMs, pausedTimeMs, backToBackTimeMs: milliseconds / many };
}
