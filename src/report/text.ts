// Results as text for people and for scripts.
import type { BenchRecord } from "../bench/record.ts";
import { formatRate, plural } from "../text.ts";
import type { Job } from "../workload/workload.ts";

const whole = new Intl.NumberFormat("en-US");

/** The reference script's three lines. */
export function threeLines(record: BenchRecord): string[] {
  return [
    `Output sum: ${record.outputSum!.toFixed(4)}`,
    `Kernel time: ${record.kernelTimeMs!.toFixed(3)} ms`,
    `Peak ${record.backend === "cuda" ? "GPU" : "CPU"} memory: ${record.peakMemoryMb!.toFixed(2)} MB`,
  ];
}

/** What else there is to know of a run. */
export function runNotes(record: BenchRecord): string[] {
  const dropped = record.dropped! > 0
    ? `, ${whole.format(record.dropped!)} dropped by the capacity of ${record.capacity}`
    : "";
  const { verifiedTokens, verifyError } = record;
  return [
    `Kept ${whole.format(record.kept!)} of ${whole.format(record.assignments!)} assignments${dropped}`,
    `Tokens per expert: ${record.tokensPerExpert!.join(" ")}`,
    ...(verifiedTokens === null ? [] : [
      `Checked ${plural(verifiedTokens, "token")} against float64: relative error ${verifyError!.toExponential(1)}`,
    ]),
    ...timeNotes(record),
    `Inputs drawn in ${(record.generateTimeMs! / 1000).toFixed(1)} s; ${
      formatRate(record.tflops! * 1e12)
    } of useful work${ofPeak(record)}`,
    ...record.hints.map((hint) => `Note: ${hint}`),
  ];
}

/** How sure a time is, where there are several. */
function timeNotes(record: BenchRecord): string[] {
  const { kernelTimeMs, minTimeMs, maxTimeMs, madMs, noise, iters, coldTimeMs, backToBackTimeMs } = record;
  if (noise === null) return [];
  const ms = (value: number | null) => `${value!.toFixed(3)} ms`;
  return [
    `Median of ${plural(iters!, "call")} ${ms(kernelTimeMs)} ± ${(100 * noise).toFixed(1)} %; ` +
    `${ms(minTimeMs)} to ${ms(maxTimeMs)}, median absolute deviation ${ms(madMs)}`,
    ...(coldTimeMs === null
      ? []
      : [`With the L2 cache emptied ${ms(coldTimeMs)}; back to back ${ms(backToBackTimeMs)} a call`]),
  ];
}

function ofPeak({ percentOfPeak, boundBy }: BenchRecord): string {
  if (percentOfPeak === null) return "";
  const peak = boundBy === "compute" ? "arithmetic" : "memory bandwidth";
  return `, ${percentOfPeak.toFixed(1)} % of the device's peak ${peak}`;
}

/** A job in one line. */
export function describeJob(job: Job): string {
  const { preset, batch, seq, hidden, intermediate, experts, topK, capacity, seed } = job;
  return `${preset} job: ${batch} x ${seq} tokens, hidden ${hidden}, intermediate ${intermediate}, ` +
    `${plural(experts, "expert")}, top ${topK}, ${
      capacity === null ? "no capacity" : `capacity ${capacity}`
    }, seed ${seed}`;
}
