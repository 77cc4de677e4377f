// Records for tests, made from the times of a run.
import { provenance } from "../src/bench/provenance.ts";
import type { BenchRecord, BenchResult } from "../src/bench/figures.ts";
import { failedRecord, finishedRecord, jobFigures } from "../src/bench/record.ts";
import { noDetails } from "../src/backend/details.ts";
import { summarize } from "../src/statistics.ts";
import { type Job, jobBytes, type JobChanges, makeJob } from "../src/workload/workload.ts";

/** Makes the record of a run of the tiny job, with changes, from the time of each call in milliseconds. */
export function record(
  times: readonly number[],
  changes: JobChanges = {},
  more: Partial<BenchResult> = {},
): BenchRecord {
  const job = makeJob("tiny", changes);
  return finishedRecord(result(job, times, more), provenance(), noDetails);
}

/** Makes the record of a run that failed. */
export function failure(reason: string, changes: JobChanges = {}): BenchRecord {
  return failedRecord(makeJob("tiny", changes), { backend: "cpu", device: null, threads: 2 }, reason, provenance());
}

function result(job: Job, times: readonly number[], more: Partial<BenchResult>): BenchResult {
  const summary = summarize(times);
  const { count, median, mean, min, max, mad, iqr, interval, noise, outliers, drift } = summary;
  const tokens = job.batch * job.seq, assignments = tokens * job.topK;
  const flops = assignments * 6 * job.hidden * job.intermediate, bytes = jobBytes(job);
  return {
    ...jobFigures(job),
    ...{ backend: "cpu", device: "A processor", threads: 2, engine: "WebAssembly", warmup: 1, iters: count },
    ...{ gpus: null, exchange: null, tokensPerSecondPerGpu: null, exchangeBytes: null },
    ...{ assignments, kept: assignments, dropped: 0, droppedFraction: 0, imbalance: 1.5 },
    tokensPerExpert: Array.from(
      { length: job.experts },
      (_, i) => Math.round((i + 1) * assignments / job.experts / 4.5),
    ),
    ...{ outputSum: 1, outputAbsSum: 10, outputMin: -1, outputMax: 1, outputFirst: [1, 2, 3] },
    ...{ kernelTimeMs: median, kernelTimesMs: times, meanTimeMs: mean, minTimeMs: min, maxTimeMs: max },
    ...{
      madMs: mad,
      iqrMs: iqr,
      medianIntervalMs: interval,
      noise,
      outliers,
      drift,
      converged: null,
      preemptionsPerSecond: 0,
      otherLoad: null,
    },
    ...{ p95Ms: summary.p95, p99Ms: summary.p99, deviationMs: summary.deviation },
    ...{ runClockMhz: null, runMemoryClockMhz: null, powerWatts: null, temperatureCelsius: null },
    ...{ energyPerCallJoules: null, throttleReasons: [] },
    ...{
      profile: null,
      coldTimeMs: null,
      pausedTimeMs: null,
      backToBackTimeMs: null,
      replayTimeMs: null,
      hostTimeMs: null,
      wallTimeMs: median,
      generateTimeMs: 1,
      uploadTimeMs: null,
    },
    peakMemoryBytes: bytes,
    ...{ tflops: flops / median / 1e9, gigabytesPerSecond: bytes / median / 1e6 },
    ...{ tokensPerSecond: tokens / median * 1000, intensity: flops / bytes },
    ...{ peakTflops: null, peakGigabytesPerSecond: null, peakSource: null, percentOfPeak: null, boundBy: null },
    ...{ verifyError: 1e-4, verifiedTokens: 16 },
    ...more,
  };
}
