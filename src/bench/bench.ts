/**
 * The benchmark: the time, memory and output of a synthetic job.
 *
 * @module
 */
import type { Backend, BackendTensor, PeakRates } from "../backend/backend.ts";
import { expertsBytes, expertsFlops } from "../contract/experts_sizes.ts";
import { type ResolvedExperts, resolveExperts } from "../contract/resolve_experts.ts";
import { checkSample, MismatchError, sampleScatter } from "../verify/sample.ts";
import type { Engine } from "../wasm/engine.ts";
import { type OutputSummary, summarizeOutput } from "../workload/output_summary.ts";
import { drawInputs, type Job, jobOptions, type Workload } from "../workload/workload.ts";
import { type BenchResult, jobFigures } from "./record.ts";
import { median, summarize, type Summary } from "./statistics.ts";

/** When to end a series of timed calls whose number is not fixed. */
export interface StopRule {
  /** The minimum time of the series, in milliseconds. */
  readonly minTimeMs: number;
  /** The series ends when the noise is at most this: half the width of the median's 95 % interval over the median. */
  readonly maxNoise: number;
  /** The series ends after this time in milliseconds, converged or not. */
  readonly timeoutMs: number;
}

/** Options of {@linkcode bench}. */
export interface BenchOptions {
  /** Calls before the timed ones. */
  readonly warmup: number;
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

/**
 * Runs a job: draws its inputs, calls the op, checks the output and measures the time.
 *
 * @param job The sizes and the seed.
 * @param backend The backend to measure.
 * @param engine The worker pool that draws the inputs and sums the output.
 * @param options The number of calls, when to stop, and a progress callback.
 * @returns The figures.
 * @throws {MismatchError} If the output differs from the float64 result.
 */
export async function bench(
  job: Job,
  backend: Backend,
  engine: Engine,
  options: BenchOptions,
): Promise<BenchResult> {
  const { warmup, iters, stop, verify = false, thorough = false, onProgress = () => {} } = options;
  onProgress("Inputs", 0);
  const generateStart = performance.now();
  using workload = await drawInputs(job, backend, engine, (fraction) => onProgress("Inputs", fraction));
  await backend.synchronize();
  const uploadTimeMs = backend.uploadMilliseconds;
  const generateTimeMs = performance.now() - generateStart - (uploadTimeMs ?? 0);
  const { inputs } = workload;
  const expertsOptions = jobOptions(job);

  const call = (phase: string, done: number, share: number) => {
    const report = (fraction: number) => onProgress(phase, Math.min(1, done + fraction * share));
    report(0);
    return backend.experts(inputs, { ...expertsOptions, onProgress: report });
  };
  let verified: { samples: number; error: number } | undefined;
  const check = async (output: BackendTensor) => {
    if (!verify || verified) return;
    onProgress("Check", 0);
    verified = await checkedSample(backend, workload, output, job);
  };
  for (let i = 0; i < warmup; i++) {
    using output = await call("Warm-up", i / warmup, 1 / warmup);
    await check(output);
  }
  await backend.synchronize();

  backend.resetPeakMemory();
  let summary: OutputSummary | undefined;
  const { kernelTimesMs, wallTimesMs, converged } = await repeat(iters, stop, async (done, share, last) => {
    const measurement = await backend.measure(() => call("Timed runs", done, share));
    using output = measurement.result;
    await check(output); // without a warm-up, this is the first output
    if (last || !summary) summary = await summarizeOutput(backend, engine, output);
    return measurement;
  });
  const peakMemoryBytes = backend.memory.peakBytes;
  const statistics = summarize(kernelTimesMs);
  const other = thorough
    ? await otherModes(backend, statistics, () => backend.experts(inputs, expertsOptions))
    : undefined;

  const shape = resolveExperts(inputs, expertsOptions);
  const assignments = job.batch * job.seq * job.topK;
  const counts = workload.tokensPerExpert;
  return {
    ...jobFigures(job),
    backend: backend.name,
    device: backend.device,
    threads: engine.threads,
    engine: backend.engine,
    warmup,
    iters: kernelTimesMs.length,
    assignments,
    kept: workload.kept,
    dropped: assignments - workload.kept,
    droppedFraction: 1 - workload.kept / assignments,
    tokensPerExpert: [...counts],
    imbalance: Math.max(...counts) * counts.length / assignments,
    ...summary!,
    kernelTimeMs: statistics.median,
    kernelTimesMs,
    minTimeMs: statistics.min,
    maxTimeMs: statistics.max,
    meanTimeMs: statistics.mean,
    madMs: statistics.mad,
    iqrMs: statistics.iqr,
    medianIntervalMs: statistics.interval,
    noise: statistics.noise,
    outliers: statistics.outliers,
    drift: statistics.drift,
    converged,
    coldTimeMs: other?.coldTimeMs ?? null,
    backToBackTimeMs: other?.backToBackTimeMs ?? null,
    wallTimeMs: median(wallTimesMs),
    generateTimeMs,
    uploadTimeMs,
    peakMemoryBytes,
    ...rates(shape, workload, statistics.median, thorough ? await backend.peakRates(shape.dtype) : undefined),
    verifyError: verified?.error ?? null,
    verifiedTokens: verified?.samples ?? null,
  };
}

async function checkedSample(
  backend: Backend,
  { inputs }: Workload,
  output: BackendTensor,
  job: Job,
): Promise<{ samples: number; error: number }> {
  const check = await checkSample(backend, inputs, output, jobOptions(job), { scatter: sampleScatter });
  if (check.bad) throw new MismatchError(check);
  return check;
}

interface Series {
  readonly kernelTimesMs: readonly number[];
  readonly wallTimesMs: readonly number[];
  readonly converged: boolean | null;
}

/** Makes the timed calls: `iters`, or as many as the rule asks for. `run` gets the fraction that is done and its own share. */
async function repeat(
  iters: number,
  stop: StopRule | undefined,
  run: (done: number, share: number, last: boolean) => Promise<{ milliseconds: number; wallMilliseconds: number }>,
): Promise<Series> {
  const kernelTimesMs: number[] = [], wallTimesMs: number[] = [];
  let nextLook = iters, elapsed = 0;
  while (true) {
    const count = kernelTimesMs.length;
    const done = stop ? Math.max(elapsed / stop.timeoutMs, 0) : count / iters;
    const { milliseconds, wallMilliseconds } = await run(done, stop ? 0 : 1 / iters, !stop && count === iters - 1);
    kernelTimesMs.push(milliseconds);
    wallTimesMs.push(wallMilliseconds);
    elapsed += wallMilliseconds;
    if (!stop) {
      if (count + 1 === iters) return { kernelTimesMs, wallTimesMs, converged: null };
      continue;
    }
    const over = elapsed >= stop.timeoutMs;
    if (!over && (count + 1 < nextLook || elapsed < stop.minTimeMs)) continue;
    const { noise } = summarize(kernelTimesMs);
    const converged = count + 1 >= iters && noise !== null && noise <= stop.maxNoise;
    if (converged || over) return { kernelTimesMs, wallTimesMs, converged };
    nextLook = Math.ceil((count + 1) * 1.1); // the summary sorts all times
  }
}

/** Measures the op with cold caches, and the time per call of many calls without a pause. */
async function otherModes(
  backend: Backend,
  { count, median: isolatedMs }: Summary,
  run: () => Promise<BackendTensor>,
): Promise<{ coldTimeMs: number; backToBackTimeMs: number } | undefined> {
  if (!backend.flushCaches) return undefined;
  const cold: number[] = [];
  const calls = Math.min(count, maxModeCalls);
  for (let i = 0; i < calls; i++) {
    backend.flushCaches();
    const { result, milliseconds } = await backend.measure(run);
    using _output = result;
    cold.push(milliseconds);
  }
  const many = Math.max(calls, Math.min(maxModeCalls, Math.ceil(100 / isolatedMs)));
  const { milliseconds } = await backend.measure(async () => {
    for (let i = 0; i < many; i++) {
      using _output = await run();
    }
  });
  return { coldTimeMs: median(cold), backToBackTimeMs: milliseconds / many };
}

type Rates = Pick<
  BenchResult,
  | "tflops"
  | "gigabytesPerSecond"
  | "tokensPerSecond"
  | "intensity"
  | "peakTflops"
  | "peakGigabytesPerSecond"
  | "peakSource"
  | "percentOfPeak"
  | "boundBy"
>;

/** Computes the rates and their share of the device's peaks. */
function rates(
  shape: ResolvedExperts,
  { kept, tokensPerExpert }: Workload,
  milliseconds: number,
  peak: PeakRates | undefined,
): Rates {
  const flops = expertsFlops(shape, kept), bytes = expertsBytes(shape, tokensPerExpert);
  const tflops = flops / milliseconds / 1e9, gigabytesPerSecond = bytes / milliseconds / 1e6;
  const ofCompute = peak && 100 * tflops / peak.teraflops;
  const ofMemory = peak && 100 * gigabytesPerSecond / peak.gigabytesPerSecond;
  return {
    tflops,
    gigabytesPerSecond,
    tokensPerSecond: shape.tokens / milliseconds * 1000,
    intensity: flops / bytes,
    peakTflops: peak?.teraflops ?? null,
    peakGigabytesPerSecond: peak?.gigabytesPerSecond ?? null,
    peakSource: peak?.source ?? null,
    percentOfPeak: peak ? Math.max(ofCompute!, ofMemory!) : null,
    boundBy: peak ? (ofCompute! >= ofMemory! ? "compute" : "memory") : null,
  };
}
