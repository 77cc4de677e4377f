// Series of calls: how many to make, and when to stop.
import { summarize } from "../statistics.ts";

/** When to end a series of timed calls whose number is not fixed. */
export interface StopRule {
  /** The minimum time of the series, in milliseconds. */
  readonly minTimeMs: number;
  /** The series ends when the noise is at most this: half the width of the median's 95 % interval over the median. */
  readonly maxNoise: number;
  /** The series ends after this time in milliseconds, converged or not. */
  readonly timeoutMs: number;
}

/** The times of one call in milliseconds. */
export interface CallTimes {
  /** By the device's clock where it has one. */
  readonly milliseconds: number;
  /** By the host's clock. */
  readonly wallMilliseconds: number;
  /** The host's part, which queues the work; null if the host computes. */
  readonly hostMilliseconds: number | null;
}

/** A series of timed calls. */
export interface Series {
  readonly calls: readonly CallTimes[];
  /** Whether the stop rule was met before its timeout; null without a stop rule. */
  readonly converged: boolean | null;
}

/** Makes one call of a series, with the fraction of the series that is done before it and its own share. */
type Call = (done: number, share: number) => Promise<CallTimes>;

/** Two calls agree if their times differ by at most this fraction. */
const steadyDifference = 0.05;

/** The maximum number of warm-up calls, and the time in milliseconds after which another one is not worth its time. */
const maxWarmup = { calls: 10, milliseconds: 2000 };

/**
 * Makes the warm-up calls: a fixed number, or at least one and as many as it takes until two in a row agree.
 *
 * @returns The times of the calls.
 */
export async function warmUp(warmup: number | "steady", call: Call): Promise<CallTimes[]> {
  const calls: CallTimes[] = [];
  if (warmup === "steady") {
    do calls.push(await call(0, 1)); while (!isSteady(calls));
  } else {
    while (calls.length < warmup) calls.push(await call(calls.length / warmup, 1 / warmup));
  }
  return calls;
}

function isSteady(calls: readonly CallTimes[]): boolean {
  const times = calls.map(({ milliseconds }) => milliseconds);
  const [last = 0, previous = Infinity] = times.toReversed();
  if (Math.abs(last - previous) <= steadyDifference * Math.min(last, previous)) return true;
  const elapsed = calls.reduce((sum, { wallMilliseconds }) => sum + wallMilliseconds, 0);
  return times.length >= maxWarmup.calls || elapsed > maxWarmup.milliseconds;
}

/** Makes the timed calls: `iters`, or as many as the stop rule asks for. */
export async function repeat(iters: number, stop: StopRule | undefined, call: Call): Promise<Series> {
  const calls: CallTimes[] = [];
  if (!stop) {
    while (calls.length < iters) calls.push(await call(calls.length / iters, 1 / iters));
    return { calls, converged: null };
  }
  let nextLook = iters, elapsed = 0;
  while (true) {
    const times = await call(elapsed / stop.timeoutMs, 0);
    calls.push(times);
    elapsed += times.wallMilliseconds;
    const over = elapsed >= stop.timeoutMs;
    if (!over && (calls.length < nextLook || elapsed < stop.minTimeMs)) continue;
    const { noise } = summarize(calls.map(({ milliseconds }) => milliseconds));
    const converged = calls.length >= iters && noise !== null && noise <= stop.maxNoise;
    if (converged || over) return { calls, converged };
    nextLook = Math.ceil((calls.length + 1) * 1.1); // the summary sorts all times
  }
}
