// How `yamoe bench` measures, and whether a job fits the memory.
import type { Backend } from "../backend/backend.ts";
import type { BenchOptions } from "../bench/bench.ts";
import type { Configuration } from "../bench/sweep.ts";
import { formatBytes, plural } from "../text.ts";
import type { Engine } from "../wasm/engine.ts";
import { type Job, requiredBytes } from "../workload/workload.ts";
import { freeMemory } from "./free_memory.ts";
import { UsageError } from "./usage_error.ts";

/** The flags that say how to measure. */
interface MeasurementValues {
  readonly warmup?: number;
  readonly iters?: number;
  readonly "min-time"?: number;
  readonly "max-noise"?: number;
  readonly timeout?: number;
  readonly "no-verify"?: boolean;
}

/** Returns how the flags ask to measure on a backend. */
export function measurement(values: MeasurementValues, isSweep: boolean): (backend: Backend) => BenchOptions {
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
  return (backend) => ({
    warmup: values.warmup ?? (backend.name === "cuda" ? 5 : adaptive ? 1 : 0),
    iters: iters ?? (adaptive ? 6 : 1),
    stop,
    verify: !values["no-verify"],
    thorough: adaptive || iters !== undefined && iters > 1,
  });
}

/** Describes where a job runs and, if the job is given, the memory that it needs. */
export function describePlace({ engine, backend }: { engine: Engine; backend: Backend }, job?: Job): string {
  const threads = backend.name === "cpu" ? `, ${plural(engine.threads, "thread")}, ${backend.engine}` : "";
  return `On ${backend.device}${threads}${job ? `; needs ${formatBytes(requiredBytes(job))} of memory` : ""}`;
}

/**
 * Checks that a job fits the free memory.
 *
 * @throws {UsageError} If it does not.
 */
export function checkMemory({ job }: Configuration, { name }: Pick<Backend, "name">): void {
  const need = requiredBytes(job);
  const free = name === "cpu" ? freeMemory() : undefined;
  if (free === undefined || free >= need) return;
  throw new UsageError(`The job needs ${formatBytes(need)} of memory, but only ${formatBytes(free)} are free`);
}
