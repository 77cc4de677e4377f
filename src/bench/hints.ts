// What a reader of a time should know before trusting it, and what to do about it.
import type { BenchResult } from "./bench.ts";
import { plural } from "../text.ts";

/** A drift above which the second half of a series does not tell the same as the first. */
const noticeableDrift = 0.05;

/** A first call so much slower than the slowest of the others was still warming up. */
const slowFirst = 1.5;

/** Below this many milliseconds a CPU's time is mostly that of waking the workers. */
const shortTime = 0.1;

/** More outliers than this share of the calls say something of the machine; fewer, the median does not notice. */
const noticeableOutliers = 0.05;

/** Remarks on a series of times, each a few words, a colon and what to do; none where nothing is odd. */
export function hints(result: BenchResult): string[] {
  const { kernelTimesMs, kernelTimeMs, outliers, drift, converged, noise, warmup, backend } = result;
  const [first, ...others] = kernelTimesMs;
  const count = kernelTimesMs.length;
  const found: string[] = [];
  const percent = (fraction: number) => `${(100 * fraction).toFixed(1)} %`;
  if (converged === false) {
    const known = noise === null ? "" : `, the median is known to ${percent(noise)}`;
    found.push(`not converged: there was time for ${plural(count, "call")}${known}; raise --timeout or --max-noise`);
  }
  if (others.length > 1 && first! > slowFirst * Math.max(...others)) {
    const factor = (first! / kernelTimeMs).toFixed(1);
    found.push(`slow first call: it took ${factor} times the median; use --warmup ${warmup + 1}`);
  }
  if (outliers > noticeableOutliers * count) {
    found.push(
      `outliers: ${outliers} of ${count} calls are far from the rest; is the machine busy with something else?`,
    );
  }
  if (drift !== null && drift > noticeableDrift) {
    const device = backend === "cuda" ? "GPU" : "CPU";
    found.push(`slowing down: calls became ${percent(drift)} slower; the ${device} may be throttling, let it cool`);
  }
  if (backend === "cpu" && kernelTimeMs < shortTime) {
    found.push("too short: the time is mostly that of waking threads; choose a larger job");
  }
  return found;
}

/** A remark's few words. */
export function shortHint(hint: string): string {
  return hint.split(":", 1)[0]!;
}
