/**
 * The benchmark: a synthetic job's time, memory and output.
 *
 * @module
 */
import type { Backend } from "./backend.ts";
import { expertsFlops, expertsShape } from "./experts_shape.ts";
import { type OutputSummary, summarizeOutput } from "./output_summary.ts";
import { version } from "./version.ts";
import type { Engine } from "./wasm/engine.ts";
import { drawInputs, type Job, jobOptions } from "./workload.ts";

/** What a benchmark run is told besides its job. */
export interface BenchOptions {
  /** Calls before the timed ones. */
  readonly warmup: number;
  /** Timed calls, at least 1. */
  readonly iters: number;
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
  /** Assignments of each expert, before the capacity. */
  readonly tokensPerExpert: readonly number[];
  /** The median of `kernelTimesMs`. */
  readonly kernelTimeMs: number;
  /** Each timed call, by the device's clock where it has one. */
  readonly kernelTimesMs: readonly number[];
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
  /** This package's. */
  readonly version: string;
  /** When the run ended, RFC 3339. */
  readonly time: string;
}

/**
 * Runs a job: draws its inputs, calls the op, measures.
 *
 * @param job The sizes and the seed.
 * @param backend Where to run.
 * @param engine The worker pool that draws inputs and sums outputs.
 * @param options Calls to make and a progress callback.
 * @returns The figures.
 */
export async function bench(
  job: Job,
  backend: Backend,
  engine: Engine,
  { warmup, iters, onProgress = () => {} }: BenchOptions,
): Promise<BenchResult> {
  onProgress("Inputs", 0);
  const generateStart = performance.now();
  using workload = await drawInputs(job, backend, engine, (fraction) => onProgress("Inputs", fraction));
  await backend.synchronize();
  const uploadTimeMs = backend.uploadMilliseconds;
  const generateTimeMs = performance.now() - generateStart - (uploadTimeMs ?? 0);

  const call = (phase: string, index: number, count: number) => {
    const report = (fraction: number) => onProgress(phase, (index + fraction) / count);
    report(0);
    return backend.experts(workload.inputs, { ...jobOptions(job), onProgress: report });
  };
  for (let i = 0; i < warmup; i++) {
    using _output = await call("Warm-up", i, warmup);
  }
  await backend.synchronize();

  backend.resetPeakMemory();
  const kernelTimesMs: number[] = [], wallTimesMs: number[] = [];
  let summary: OutputSummary | undefined;
  for (let i = 0; i < iters; i++) {
    const { result, milliseconds, wallMilliseconds } = await backend.measure(() => call("Timed runs", i, iters));
    using output = result;
    kernelTimesMs.push(milliseconds);
    wallTimesMs.push(wallMilliseconds);
    if (i === iters - 1) summary = await summarizeOutput(backend, engine, output);
  }

  const shape = expertsShape(workload.inputs, jobOptions(job));
  const kernelTimeMs = median(kernelTimesMs);
  const assignments = job.batch * job.seq * job.topK;
  return {
    ...job,
    backend: backend.name,
    device: backend.device,
    threads: engine.threads,
    engine: backend.engine,
    warmup,
    iters,
    assignments,
    kept: workload.kept,
    dropped: assignments - workload.kept,
    tokensPerExpert: [...workload.tokensPerExpert],
    ...summary!,
    kernelTimeMs,
    kernelTimesMs,
    wallTimeMs: median(wallTimesMs),
    generateTimeMs,
    uploadTimeMs,
    peakMemoryMb: backend.memory.peakBytes / 2 ** 20,
    tflops: expertsFlops(shape, workload.kept) / kernelTimeMs / 1e9,
    version,
    time: new Date().toISOString(),
  };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
