// The results of a run as text.
import { referenceMegabyte } from "../bench/against.ts";
import type { FinishedRecord } from "../bench/record.ts";
import { formatBytes, formatRate, plural } from "../text.ts";
import { type PresetName, presets } from "../models/presets.ts";
import { areDrawn } from "../workload/drawn_weights.ts";
import { type Job, makeJob } from "../workload/workload.ts";
import { toJson } from "./json.ts";

const whole = new Intl.NumberFormat("en-US");

/** Returns the three lines that the reference script prints. */
export function threeLines(record: FinishedRecord): string[] {
  return [
    `Output sum: ${record.outputSum.toFixed(4)}`,
    `Kernel time: ${record.kernelTimeMs.toFixed(3)} ms`,
    `Peak ${record.backend === "cuda" ? "GPU" : "CPU"} memory: ${
      (record.peakMemoryBytes / referenceMegabyte).toFixed(2)
    } MB`,
  ];
}

/** Returns the notes on a run. */
export function runNotes(record: FinishedRecord): string[] {
  const dropped = record.dropped > 0
    ? `, ${whole.format(record.dropped)} dropped by the capacity of ${record.capacity}`
    : "";
  const { verifiedTokens, verifyError } = record;
  return [
    `Kept ${whole.format(record.kept)} of ${whole.format(record.assignments)} assignments${dropped}`,
    `Peak memory: ${formatBytes(record.peakMemoryBytes)}`,
    `Tokens per expert: ${record.tokensPerExpert.join(" ")}`,
    ...(verifiedTokens === null || verifyError === null ? [] : [
      `Checked ${plural(verifiedTokens, "token")} against float64: relative error ${verifyError.toExponential(1)}`,
    ]),
    ...timeNotes(record),
    `Inputs drawn in ${(record.generateTimeMs / 1000).toFixed(1)} s; ${
      formatRate(record.tflops * 1e12)
    } of useful work${ofPeak(record)}`,
    ...gpuNotes(record),
    ...record.hints.map((hint) => `Note: ${hint}`),
  ];
}

/** Returns the notes on the spread of the times, if there are several. */
function timeNotes(record: FinishedRecord): string[] {
  const {
    kernelTimeMs,
    minTimeMs,
    maxTimeMs,
    madMs,
    noise,
    iters,
    coldTimeMs,
    pausedTimeMs,
    backToBackTimeMs,
    replayTimeMs,
  } = record;
  if (iters < 2) return [];
  const ms = (value: number) => `${value.toFixed(3)} ms`;
  const known = noise === null ? "" : ` ± ${(100 * noise).toFixed(1)} %`;
  return [
    `Median of ${plural(iters, "call")} ${ms(kernelTimeMs)}${known}; ` +
    `${ms(minTimeMs)} to ${ms(maxTimeMs)}, median absolute deviation ${ms(madMs)}`,
    ...(coldTimeMs === null || pausedTimeMs === null || backToBackTimeMs === null || replayTimeMs === null ? [] : [
      `With the L2 cache emptied ${ms(coldTimeMs)}; after a pause ${ms(pausedTimeMs)}; ` +
      `back to back ${ms(backToBackTimeMs)} per call; replayed ${ms(replayTimeMs)}`,
    ]),
  ];
}

/** Returns the note on the state of the GPU, if it is known. */
function gpuNotes({ runClockMhz, powerWatts, temperatureCelsius, throttleReasons }: FinishedRecord): string[] {
  const parts = [
    ...runClockMhz === null ? [] : [`${runClockMhz} MHz`],
    ...powerWatts === null ? [] : [`${powerWatts.toFixed(0)} W`],
    ...temperatureCelsius === null ? [] : [`${temperatureCelsius} °C`],
    ...throttleReasons.length > 0 ? [`slowed by ${throttleReasons.join(", ")}`] : [],
  ];
  return parts.length === 0 ? [] : [`GPU during the timed calls: ${parts.join(", ")}`];
}

function ofPeak({ percentOfPeak, boundBy }: FinishedRecord): string {
  if (percentOfPeak === null) return "";
  const peak = boundBy === "compute" ? "arithmetic" : "memory bandwidth";
  return `, ${percentOfPeak.toFixed(1)} % of the device's peak ${peak}`;
}

/** Whether a job is exactly that of its preset, with all sizes and the seed. */
function isPreset(job: Job): boolean {
  return job.preset in presets && toJson(job) === toJson(makeJob(job.preset as PresetName));
}

/** Describes a job in one line. */
export function describeJob(job: Job): string {
  const { preset, batch, seq, hidden, intermediate, experts, topK, capacity, seed, op, weights, model, skew, ep } = job;
  const isDrawn = areDrawn(weights), name = isDrawn ? preset : model;
  const special = [
    ...isDrawn && weights !== "dense" ? [`weights in ${weights}`] : [],
    ...skew === 0 ? [] : [`skew ${skew}`],
    ...ep === 1 ? [] : [`one of ${ep} shares of the experts`],
  ];
  return `${name} ${isPreset(job) || preset === "custom" ? "job" : "layer"}${
    op === "moe" ? " with its router" : ""
  }: ${batch} x ${seq} tokens, hidden ${hidden}, intermediate ${intermediate}, ` +
    `${plural(experts, "expert")}, top ${topK}, ${capacity === null ? "no capacity" : `capacity ${capacity}`}, ${
      [`seed ${seed}`, ...special].join(", ")
    }`;
}
