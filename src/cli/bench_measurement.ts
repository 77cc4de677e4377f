// How `yamoe bench` measures, and where.
import type { Backend } from "../backend/backend.ts";
import type { BenchOptions } from "../bench/bench.ts";
import { formatBytes, plural } from "../text.ts";
import type { WorkerPool } from "../wasm/worker_pool.ts";
import { type Job, requiredBytes } from "../workload/workload.ts";

/** The flags that say how to measure. */
export interface MeasurementValues {
  readonly warmup?: number;
  readonly iters?: number;
  readonly "min-time"?: number;
  readonly "max-noise"?: number;
  readonly timeout?: number;
  readonly "no-verify"?: boolean;
  readonly profile?: boolean;
}

/** Returns how the flags ask to measure on a backend. */
export function measurement(values: MeasurementValues, isSweep: boolean): BenchOptions {
  const { iters, "min-time": minTime, "max-noise": maxNoise, timeout } = values;
  const adaptive = [minTime, maxNoise, timeout].some((value) => value !== undefined) ||
    (isSweep && iters === undefined);
  const stop = adaptive
    ? {
      minTimeMs: 1000 * (minTime ?? 0.2),
      maxNoise: (maxNoise ?? 1) / 100,
      timeoutMs: 1000 * (timeout ?? Math.max(3, minTime ?? 0)),
    }
    : undefined;
  return {
    warmup: values.warmup ?? "steady",
    iters: iters ?? (adaptive ? 6 : 1),
    stop,
    verify: !values["no-verify"],
    profile: values.profile,
    thorough: adaptive || iters !== undefined && iters > 1,
  };
}

/** Describes where a job runs and, if the job is given, the memory that it needs. */
export function describePlace({ pool, backend }: { pool: WorkerPool; backend: Backend }, job?: Job): string {
  const threads = backend.name === "cpu" ? `, ${plural(pool.threads, "thread")}, ${backend.engine}` : "";
  return `On ${backend.device}${threads}${job ? `; needs ${formatBytes(requiredBytes(job))} of memory` : ""}`;
}
