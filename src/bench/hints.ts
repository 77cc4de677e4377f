// Hints: what a reader should know before trusting a time, and what to do about it.
import { plural } from "../text.ts";
import type { BenchRecord, BenchResult } from "./figures.ts";

/** Above this drift, the two halves of a series do not measure the same. */
const noticeableDrift = 0.05;

/** If the first call is slower than the slowest of the others by this factor, it was still warming up. */
const slowFirst = 1.5;

/** Above this number per second and thread, other programs compete for the CPUs. */
const noticeablePreemptions = 60;

/** Above this share of CPU time in other programs, they compete for the CPUs. */
const noticeableLoad = 0.1;

/** Below this time in milliseconds, most of a CPU's time goes into waking the workers. */
const shortTime = 0.1;

/** Above this share of outliers, the machine is probably busy. The median does not notice fewer. */
const noticeableOutliers = 0.05;

/** Returns the hints on a series of times. Each is a few words, a colon, an explanation and what to do. */
export function hints(result: BenchResult): string[] {
  const {
    kernelTimesMs,
    kernelTimeMs,
    outliers,
    drift,
    converged,
    noise,
    warmup,
    backend,
    percentOfPeak,
    peakTflops,
  } = result;
  const [first = 0, ...others] = kernelTimesMs;
  const count = kernelTimesMs.length;
  const found: string[] = [];
  if (count === 1 && warmup === 0) found.push("cold call: the only call includes the warm-up; use --warmup 1");
  const percent = (fraction: number) => `${(100 * fraction).toFixed(1)} %`;
  if (converged === false) {
    const known = noise === null ? "" : `, the median is known to ${percent(noise)}`;
    found.push(
      `not converged: the time was enough for ${plural(count, "call")}${known}; raise --timeout or --max-noise`,
    );
  }
  if (others.length > 1 && first > slowFirst * Math.max(...others)) {
    const factor = (first / kernelTimeMs).toFixed(1);
    found.push(`slow first call: it took ${factor} times the median; use --warmup ${warmup + 1}`);
  }
  if (outliers > noticeableOutliers * count) {
    found.push(
      `outliers: ${outliers} of ${count} calls are far from the rest; check whether the machine is busy`,
    );
  }
  if (drift !== null && drift > noticeableDrift) {
    const device = backend === "cuda" ? "GPU" : "CPU";
    found.push(`slowing down: calls became ${percent(drift)} slower; let the ${device} cool, it may be throttling`);
  }
  if (result.throttleReasons.length > 0) {
    found.push(
      `throttled: the GPU lowered its clocks (${result.throttleReasons.join(", ")}); let it cool between runs`,
    );
  }
  const busy = backend === "cpu" ? otherPrograms(result) : null;
  if (busy !== null) found.push(`busy machine: other programs ${busy}; run it alone`);
  if (backend === "cpu" && percentOfPeak === null && peakTflops !== null) {
    found.push("peak too low: the calls were faster than the measured peak of this machine; run it alone");
  }
  if (backend === "cpu" && kernelTimeMs < shortTime) {
    found.push("too short: most of the time goes into waking threads; choose a larger job");
  }
  return found;
}

/** Returns what other programs did with the CPUs; null if they hardly used them. */
function otherPrograms({ otherLoad, preemptionsPerSecond, threads }: BenchResult): string | null {
  if (otherLoad !== null) {
    return otherLoad > noticeableLoad ? `used ${(100 * otherLoad).toFixed(0)} % of the CPUs` : null;
  }
  return preemptionsPerSecond > (threads ?? 1) * noticeablePreemptions
    ? `took a CPU from this one ${preemptionsPerSecond.toFixed(0)} times per second`
    : null;
}

/** Returns the few words at the start of a hint. */
export function shortHint(hint: string): string {
  return hint.replace(/:.*/s, "");
}

/** Returns the end of a hint, which says what to do. */
export function advice(hint: string): string {
  return hint.slice(hint.lastIndexOf("; ") + 2);
}

/** Hints that make a time unfit for a comparison. */
const unreliableTimes = ["not converged", "slowing down", "busy machine", "cold call"];

/** Returns in few words what makes the time of a record unfit for a comparison. */
export function unreliable({ hints, converged, drift }: Pick<BenchRecord, "hints" | "converged" | "drift">): string[] {
  return [
    ...hints.map(shortHint).filter((hint) => unreliableTimes.includes(hint)),
    ...(converged === false ? ["not converged"] : []),
    ...(drift !== null && drift > noticeableDrift ? ["slowing down"] : []),
  ];
}
