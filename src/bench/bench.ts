/**
 * The benchmark: a synthetic job's time, memory and output.
 *
 * @module
 */
import type { Backend, BackendTensor, PeakRates } from "../backend/backend.ts";
import { expertsBytes, expertsFlops } from "../contract/experts_sizes.ts";
import { type ResolvedExperts, resolveExperts } from "../contract/resolve_experts.ts";
import { type OutputSummary, summarizeOutput } from "../workload/output_summary.ts";
import { middle, summarize, type Summary } from "./statistics.ts";
import { checkSample, MismatchError, sampleScatter } from "../verify/sample.ts";
import { version } from "../version.ts";
import type { WorkerPool } from "../wasm/worker_pool.ts";
import { drawInputs, type Job, jobOptions, type Workload } from "../workload/workload.ts";

/** When to end a series of timed calls that is not of a fixed length. */
export interface StopRule {
  /** Go on for as long, in milliseconds. */
  readonly minTimeMs: number;
  /** Go on until the median is known as well as this: the half width of its 95 % interval over it. */
  readonly maxNoise: number;
  /** End after as long, in milliseconds, converged or not. */
  readonly timeoutMs: number;
}

/** What a benchmark run is told besides its job. */
export interface BenchOptions {
  /** Calls before the timed ones. */
  readonly warmup: number;
  /** Timed calls, at least 1; with a stop rule, the least number before it counts. */
  readonly iters: number;
  /** When to end the timed calls; by default after `iters`. */
  readonly stop?: StopRule | undefined;
  /** Whether to check some rows of the output against float64 before any time is taken. */
  readonly verify?: boolean | undefined;
  /** Whether to measure also with cold caches, calls without a pause between them, and the device's peaks, where one can. */
  readonly thorough?: boolean | undefined;
  /** Called as phases begin and go on. */
  readonly onProgress?: (phase: string, fraction: number) => void;
}

/** What a benchmark run found. Times in milliseconds; memory in MB of 2^20 bytes, as PyTorch scripts print it. */
export interface BenchResult extends Job, OutputSummary {
  readonly backend: string;
  readonly device: string;
  readonly threads: number;
  /** What multiplied; see `Backend.engine`. */
  readonly engine: string;
  readonly warmup: number;
  readonly iters: number;
  /** T · K. */
  readonly assignments: number;
  /** Assignments that were computed. */
  readonly kept: number;
  /** Assignments that the capacity dropped. */
  readonly dropped: number;
  /** `dropped` over `assignments`. */
  readonly droppedFraction: number;
  /** Assignments of each expert, before the capacity. */
  readonly tokensPerExpert: readonly number[];
  /** The most of `tokensPerExpert` over their mean: 1 is perfect balance. */
  readonly imbalance: number;
  /** The median of `kernelTimesMs`. */
  readonly kernelTimeMs: number;
  /** Each timed call, by the device's clock where it has one. */
  readonly kernelTimesMs: readonly number[];
  readonly minTimeMs: number;
  readonly maxTimeMs: number;
  readonly meanTimeMs: number;
  /** Median absolute deviation of the times. */
  readonly madMs: number;
  /** Interquartile range of the times. */
  readonly iqrMs: number;
  /** Where the median lies with 95 % confidence; null after one call. */
  readonly medianIntervalMs: readonly [number, number] | null;
  /** Half that interval's width over the median; null after one call. */
  readonly noise: number | null;
  /** Calls that took far longer or shorter than the rest. */
  readonly outliers: number;
  /** How much slower the second half of the calls was, as a fraction; null below 8 calls. */
  readonly drift: number | null;
  /** Whether the stop rule was met before its timeout; null without one. */
  readonly converged: boolean | null;
  /** The median with the caches emptied before each call; null where not measured. */
  readonly coldTimeMs: number | null;
  /** The time of a call among many without a pause between them; null where not measured. */
  readonly backToBackTimeMs: number | null;
  /** The median of the timed calls by the host's clock. */
  readonly wallTimeMs: number;
  /** Drawing the inputs, on the host. */
  readonly generateTimeMs: number;
  /** The host's part in copying the inputs to the device, which goes on beside the drawing; null where nothing is copied. */
  readonly uploadTimeMs: number | null;
  /** Live tensors at most during the timed calls: inputs, output and workspace. */
  readonly peakMemoryMb: number;
  /** Useful operations, those of kept assignments, over `kernelTimeMs`. */
  readonly tflops: number;
  /** Bytes that must be read or written at least once over `kernelTimeMs`, in 10^9 a second. */
  readonly gigabytesPerSecond: number;
  /** T over `kernelTimeMs`. */
  readonly tokensPerSecond: number;
  /** Useful operations for each of those bytes. */
  readonly intensity: number;
  /** The device's peaks; null where not known. */
  readonly peakTflops: number | null;
  readonly peakGigabytesPerSecond: number | null;
  /** Whether those are from the device's clocks or measured on it. */
  readonly peakSource: string | null;
  /** The share of the peak that limits the job, in percent. */
  readonly percentOfPeak: number | null;
  /** Which peak that is. */
  readonly boundBy: "compute" | "memory" | null;
  /** ‖error‖ / ‖result‖ of the sampled rows against float64; null where not checked. */
  readonly verifyError: number | null;
  /** How many rows that were. */
  readonly verifiedTokens: number | null;
  /** This package's. */
  readonly version: string;
  /** When the run ended, RFC 3339. */
  readonly time: string;
}

/** The most calls of the modes beside the isolated one. */
const maxModeCalls = 100;

/**
 * Runs a job: draws its inputs, calls the op, checks, measures.
 *
 * @param job The sizes and the seed.
 * @param backend Where to run.
 * @param engine The worker pool that draws inputs and sums outputs.
 * @param options Calls to make, when to stop, and a progress callback.
 * @returns The figures.
 * @throws {MismatchError} If the output is not what float64 gives.
 */
export async function bench(
  job: Job,
  backend: Backend,
  engine: WorkerPool,
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
    await check(output); // where there was no warm-up, before this time is told
    if (last || !summary) summary = await summarizeOutput(backend, engine, output);
    return measurement;
  });
  const peakMemoryMb = backend.memory.peakBytes / 2 ** 20;
  const statistics = summarize(kernelTimesMs);
  const other = thorough
    ? await otherModes(backend, statistics, () => backend.experts(inputs, expertsOptions))
    : undefined;

  const shape = resolveExperts(inputs, expertsOptions);
  const assignments = job.batch * job.seq * job.topK;
  const counts = workload.tokensPerExpert;
  return {
    ...job,
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
    wallTimeMs: middle(wallTimesMs),
    generateTimeMs,
    uploadTimeMs,
    peakMemoryMb,
    ...rates(shape, workload, statistics.median, thorough ? await backend.peakRates(shape.dtype) : undefined),
    verifyError: verified?.error ?? null,
    verifiedTokens: verified?.samples ?? null,
    version,
    time: new Date().toISOString(),
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

/** Makes the timed calls: `iters`, or as many as the rule wants. Each is told how much is done and which share it is. */
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
    nextLook = Math.ceil((count + 1) * 1.1); // looking costs a sort
  }
}

/** The op's time with cold caches, and of one call among many without a pause. */
async function otherModes(
  backend: Backend,
  { count, median }: Summary,
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
  const many = Math.max(calls, Math.min(maxModeCalls, Math.ceil(100 / median)));
  const { milliseconds } = await backend.measure(async () => {
    for (let i = 0; i < many; i++) {
      using _output = await run();
    }
  });
  return { coldTimeMs: middle(cold), backToBackTimeMs: milliseconds / many };
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

/** How fast that was, by itself and against the device's peaks. */
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
