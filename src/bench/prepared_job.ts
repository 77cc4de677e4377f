// A job whose tensors are on a backend: its single calls, and the figures of a series of them.
import type { Backend, BackendTensor } from "../backend/backend.ts";
import { describeFormats } from "../contract/weights.ts";
import { isParallel } from "../parallel/parallel_backend.ts";
import { checkRankSample } from "../verify/rank_sample.ts";
import { checkSample, MismatchError, sampleTolerance } from "../verify/sample.ts";
import type { WorkerPool } from "../wasm/worker_pool.ts";
import { type OutputSummary, summarizeOutput } from "../workload/output_summary.ts";
import { prepareCall, type TimedCall } from "../workload/timed_call.ts";
import type { Job } from "../workload/workload.ts";
import type { BenchResult } from "./figures.ts";
import { watchGpu } from "./gpu_watch.ts";
import { watchMachine } from "./machine_load.ts";
import { mergeSummaries, prepareRankCall } from "./rank_call.ts";
import { rates, shares } from "./rates.ts";
import { jobFigures } from "./record.ts";
import type { CallTimes, Series } from "./series.ts";
import { median, summarize } from "../statistics.ts";

/** Options of {@linkcode PreparedJob.open}. */
export interface PreparedJobOptions {
  /** Whether to check some rows of the first call's output against float64. */
  readonly verify?: boolean | undefined;
  /** Called when a phase begins and while it runs. */
  readonly onProgress?: ((phase: string, fraction: number) => void) | undefined;
}

/** A job that is ready to be called. Dispose it to free its tensors. */
export class PreparedJob implements Disposable {
  /** The call that is timed. */
  readonly timed: TimedCall;
  readonly #job: Job;
  readonly #backend: Backend;
  readonly #pool: WorkerPool;
  readonly #options: PreparedJobOptions;
  readonly #preparation: Pick<BenchResult, "generateTimeMs" | "uploadTimeMs">;
  #load = watchMachine();
  #gpu = watchGpu(null);
  #verified: { readonly samples: number; readonly error: number } | undefined;
  #summary: OutputSummary | undefined;

  private constructor(
    timed: TimedCall,
    place: { readonly job: Job; readonly backend: Backend; readonly pool: WorkerPool },
    options: PreparedJobOptions,
    preparation: Pick<BenchResult, "generateTimeMs" | "uploadTimeMs">,
  ) {
    this.timed = timed;
    ({ job: this.#job, backend: this.#backend, pool: this.#pool } = place);
    this.#options = options;
    this.#preparation = preparation;
  }

  /** Draws or reads the inputs of a job. */
  static async open(
    job: Job,
    backend: Backend,
    pool: WorkerPool,
    options: PreparedJobOptions = {},
  ): Promise<PreparedJob> {
    const { onProgress = () => {} } = options;
    onProgress("Inputs", 0);
    const start = performance.now();
    const uploaded = backend.uploadMilliseconds ?? 0;
    using scope = new DisposableStack();
    const progress = (fraction: number) => onProgress("Inputs", fraction);
    const timed = scope.use(
      await (isParallel(backend)
        ? prepareRankCall(job, backend, pool, progress)
        : prepareCall(job, backend, pool, progress)),
    );
    await backend.synchronize();
    const uploadTimeMs = backend.uploadMilliseconds === null ? null : backend.uploadMilliseconds - uploaded;
    const generateTimeMs = performance.now() - start - (uploadTimeMs ?? 0);
    scope.move();
    return new PreparedJob(timed, { job, backend, pool }, options, { generateTimeMs, uploadTimeMs });
  }

  /** Starts a series of calls: resets the peak of the memory, and watches the machine from now on. */
  start(): void {
    this.#backend.resetPeakMemory();
    this.#load = watchMachine();
    this.#gpu = watchGpu(this.#backend.details.deviceUuid);
  }

  /**
   * Makes one call and measures its time. Checks and summarizes the first output.
   *
   * @throws {MismatchError} If the output differs from the float64 result.
   */
  async call(onProgress: (fraction: number) => void = () => {}): Promise<CallTimes> {
    onProgress(0);
    const { result, ...times } = await this.#backend.measure(() => this.timed.run(onProgress));
    using output = result;
    if (!this.#summary) {
      await this.#check(output);
      this.#summary = await this.#summarize(output);
    }
    this.#gpu.sample();
    return times;
  }

  async #check(output: BackendTensor): Promise<void> {
    const { verify = false, onProgress } = this.#options;
    if (!verify) return;
    onProgress?.("Check", 0);
    const { experts: { inputs, options }, readWeight } = this.timed;
    const sampling = { tolerance: sampleTolerance, readWeight };
    const check =
      await (isParallel(this.#backend)
        ? checkRankSample(this.#backend, inputs, output, options, sampling)
        : checkSample(this.#backend, inputs, output, options, sampling));
    if (check.bad) throw new MismatchError(check);
    this.#verified = check;
  }

  /** Summarizes the outputs of all ranks, if there are several. */
  async #summarize(output: BackendTensor): Promise<OutputSummary> {
    const summary = await summarizeOutput(this.#backend, this.#pool, output);
    return isParallel(this.#backend) ? mergeSummaries(await this.#backend.allGather(summary)) : summary;
  }

  /** Returns the figures of the series that was started last. */
  result({ calls, converged }: Series, warmup: number): BenchResult {
    const summary = this.#summary;
    if (!summary || calls.length === 0) throw new RangeError("A benchmark needs at least one timed call");
    const kernelTimesMs = calls.map(({ milliseconds }) => milliseconds);
    const statistics = summarize(kernelTimesMs);
    const { shape, flops, bytes, kept, tokensPerExpert, over } = this.timed;
    const reached = rates({ tokens: shape.tokens, flops, bytes }, statistics.median);
    const assignments = tokensPerExpert.reduce((sum, count) => sum + count, 0);
    const hostTimes = calls.map(({ hostMilliseconds }) => hostMilliseconds).filter((time) => time !== null);
    return {
      ...jobFigures(this.#job),
      formats: describeFormats(shape.formats),
      backend: this.#backend.name,
      device: this.#backend.device,
      threads: this.#pool.threads,
      engine: this.#backend.engine,
      ...{ gpus: over?.ranks ?? (this.#backend.name === "cuda" ? 1 : null), exchange: over?.exchange ?? null },
      warmup,
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
      converged,
      ...this.#load(),
      ...this.#gpu.figures(calls.length),
      ...{ coldTimeMs: null, pausedTimeMs: null, backToBackTimeMs: null, replayTimeMs: null, profile: null },
      wallTimeMs: median(calls.map(({ wallMilliseconds }) => wallMilliseconds)),
      hostTimeMs: hostTimes.length > 0 ? median(hostTimes) : null,
      ...this.#preparation,
      peakMemoryBytes: this.#backend.memory.peakBytes,
      ...reached,
      exchangeBytes: over?.bytes ?? null,
      tokensPerSecondPerGpu: over ? reached.tokensPerSecond / over.ranks : null,
      ...shares(reached, undefined),
      verifyError: this.#verified?.error ?? null,
      verifiedTokens: this.#verified?.samples ?? null,
    };
  }

  /** Frees the tensors. */
  [Symbol.dispose](): void {
    this.timed[Symbol.dispose]();
  }
}
