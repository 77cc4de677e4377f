// A/B: two calls in turn, and the ratio of their times.
import type { CallTimes, StopRule } from "./series.ts";
import { summarize } from "../statistics.ts";

/** Makes one call and returns its times. */
type Call = () => Promise<CallTimes>;

/** Pairs of calls, and what follows from them. */
export interface Pairs {
  readonly a: readonly CallTimes[];
  readonly b: readonly CallTimes[];
  /** Whether the stop rule was met before its timeout. */
  readonly converged: boolean;
}

/** The ratio of the times of B to those of A. */
export interface Ratio {
  /** The median of the pairs' ratios. */
  readonly ratio: number;
  /** Its 95 % confidence interval; null below 6 pairs. */
  readonly ratioInterval: readonly [number, number] | null;
}

/**
 * Makes pairs of calls, A first in one pair and B first in the next one, until the interval of the ratio is narrow.
 *
 * @param pairs The minimum number of pairs.
 * @param stop When to stop. The noise is half the width of the interval of the ratio.
 */
export async function callInTurn(
  a: Call,
  b: Call,
  pairs: number,
  stop: StopRule,
  onProgress: (fraction: number) => void = () => {},
): Promise<Pairs> {
  const times = { a: [] as CallTimes[], b: [] as CallTimes[] };
  let elapsed = 0, nextLook = pairs;
  while (true) {
    const order = times.a.length % 2 === 0 ? (["a", "b"] as const) : (["b", "a"] as const);
    for (const side of order) {
      const call = await (side === "a" ? a : b)();
      times[side].push(call);
      elapsed += call.wallMilliseconds;
    }
    onProgress(Math.min(1, elapsed / stop.timeoutMs));
    const count = times.a.length, over = elapsed >= stop.timeoutMs;
    if (!over && (count < nextLook || elapsed < stop.minTimeMs)) continue;
    const { ratioInterval } = ratioOf(times);
    const noise = ratioInterval ? (ratioInterval[1] - ratioInterval[0]) / 2 : Infinity;
    const converged = count >= pairs && noise <= stop.maxNoise;
    if (converged || over) return { ...times, converged };
    nextLook = Math.ceil((count + 1) * 1.1); // the summary sorts all ratios
  }
}

/**
 * Computes the ratio of paired times. What both calls of a pair share, such as a clock that drifts or another program that
 * runs for a while, cancels. The interval is that of the median of the pairs' ratios, which holds for every distribution.
 */
export function ratioOf({ a, b }: Pick<Pairs, "a" | "b">): Ratio {
  const logarithms = a.map(({ milliseconds }, i) => Math.log((b[i]?.milliseconds ?? NaN) / milliseconds));
  const { median, interval } = summarize(logarithms);
  return {
    ratio: Math.exp(median),
    ratioInterval: interval && [Math.exp(interval[0]), Math.exp(interval[1])],
  };
}
