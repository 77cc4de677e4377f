// Results as text for people and for scripts.
import type { BenchResult } from "../bench.ts";
import type { Job } from "../workload.ts";

const whole = new Intl.NumberFormat("en-US");

/** The reference script's three lines. */
export function threeLines(result: BenchResult): string[] {
  return [
    `Output sum: ${result.outputSum.toFixed(4)}`,
    `Kernel time: ${result.kernelTimeMs.toFixed(3)} ms`,
    `Peak ${result.backend === "cuda" ? "GPU" : "CPU"} memory: ${result.peakMemoryMb.toFixed(2)} MB`,
  ];
}

/** What else there is to know of a run. */
export function runNotes(result: BenchResult): string[] {
  const dropped = result.dropped > 0
    ? `, ${whole.format(result.dropped)} dropped by the capacity of ${result.capacity}`
    : "";
  return [
    `Kept ${whole.format(result.kept)} of ${whole.format(result.assignments)} assignments${dropped}`,
    `Tokens per expert: ${result.tokensPerExpert.join(" ")}`,
    `Inputs drawn in ${(result.generateTimeMs / 1000).toFixed(1)} s; ${
      formatRate(result.tflops * 1e12)
    } of useful work`,
  ];
}

/** A job in one line. */
export function describeJob(job: Job): string {
  const { preset, batch, seq, hidden, intermediate, experts, topK, capacity, seed } = job;
  return `${preset} job: ${batch} x ${seq} tokens, hidden ${hidden}, intermediate ${intermediate}, ` +
    `${plural(experts, "expert")}, top ${topK}, ${
      capacity === null ? "no capacity" : `capacity ${capacity}`
    }, seed ${seed}`;
}

/** A count and its noun. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** An amount of memory in the unit that suits it. */
export function formatBytes(bytes: number): string {
  if (bytes >= 2 ** 30) return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  return bytes >= 2 ** 20 ? `${(bytes / 2 ** 20).toFixed(1)} MiB` : `${(bytes / 2 ** 10).toFixed(1)} KiB`;
}

/** A rate of operations in the unit that suits it. */
function formatRate(flops: number): string {
  return flops >= 1e12 ? `${(flops / 1e12).toFixed(1)} TFLOP/s` : `${(flops / 1e9).toFixed(1)} GFLOP/s`;
}
