/**
 * The statistics of a series of times: the median, the spread, and a confidence interval of the median.
 *
 * @module
 */
import { describeValue } from "./text.ts";

/** The summary of a series of measurements, in their unit except for `noise` and `drift`. */
export interface Summary {
  /** The number of measurements. */
  readonly count: number;
  /** The median. */
  readonly median: number;
  /** The arithmetic mean. */
  readonly mean: number;
  /** The smallest measurement. */
  readonly min: number;
  /** The largest measurement. */
  readonly max: number;
  /** The 95th percentile; null below 20 measurements, which have no value beyond it. */
  readonly p95: number | null;
  /** The 99th percentile; null below 100 measurements, which have no value beyond it. */
  readonly p99: number | null;
  /** The standard deviation of the distribution, estimated with n − 1; null for one measurement. */
  readonly deviation: number | null;
  /** Median absolute deviation from the median. */
  readonly mad: number;
  /** Interquartile range. */
  readonly iqr: number;
  /** The 95 % confidence interval of the median; null below 6 measurements. */
  readonly interval: readonly [number, number] | null;
  /** Half the interval's width over the median; null below 6 measurements, or if the median is 0. */
  readonly noise: number | null;
  /** The number of measurements that are more than 14.8 MAD from the median, ten standard deviations of normal noise. */
  readonly outliers: number;
  /**
   * How much slower the second half is than the first half, as a fraction; null below 8 measurements, or if the first half has the
   * median 0.
   */
  readonly drift: number | null;
}

/** The bound that hyperfine uses: ten standard deviations of normal noise. */
const outlierDistance = 10 * 1.4826;

/**
 * Summarizes measurements.
 *
 * @param values At least one measurement, in the order in which they were made. Each is a finite number.
 * @returns The median with its interval, and the spread.
 * @throws {TypeError} If `values` is not an array, or a measurement is not a number.
 * @throws {RangeError} If there are no measurements, or one is not finite.
 *
 * @example The times of 8 calls
 * ```ts
 * import { summarize } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * const { median, interval } = summarize([1.2, 1.1, 1.3, 1.2, 1.2, 1.1, 1.4, 1.2]);
 * assertEquals(median, 1.2);
 * assertEquals(interval, [1.1, 1.4]);
 * ```
 */
export function summarize(values: readonly number[]): Summary {
  checkMeasurements(values);
  const sorted = values.toSorted((a, b) => a - b);
  const center = quantile(sorted, 0.5);
  const distances = sorted.map((value) => Math.abs(value - center));
  const mad = quantile(distances.toSorted((a, b) => a - b), 0.5);
  const interval = medianInterval(sorted);
  const half = values.length >> 1;
  const mean = sum(values) / values.length;
  return {
    count: values.length,
    median: center,
    mean,
    p95: values.length < 20 ? null : quantile(sorted, 0.95),
    p99: values.length < 100 ? null : quantile(sorted, 0.99),
    deviation: values.length < 2
      ? null
      : Math.sqrt(sum(values.map((value) => (value - mean) ** 2)) / (values.length - 1)),
    min: sorted[0]!,
    max: sorted.at(-1)!,
    mad,
    iqr: quantile(sorted, 0.75) - quantile(sorted, 0.25),
    interval,
    noise: interval && ratio((interval[1] - interval[0]) / 2, center),
    outliers: mad > 0 ? distances.filter((distance) => distance > outlierDistance * mad).length : 0,
    drift: values.length < 8 ? null : change(median(values.slice(0, half)), median(values.slice(-half))),
  };
}

/** One value that is not finite would make most figures NaN, and its place in the sorted values depends on their order. */
function checkMeasurements(values: readonly number[]): void {
  if (!Array.isArray(values)) throw new TypeError(`values must be an array of numbers, got ${describeValue(values)}`);
  if (values.length === 0) throw new RangeError("values must hold at least one measurement, got none");
  for (const [at, value] of values.entries()) {
    const message = () => `values must hold finite numbers, got ${describeValue(value)} at element ${at}`;
    if (typeof value !== "number") throw new TypeError(message());
    if (!Number.isFinite(value)) throw new RangeError(message());
  }
}

function ratio(value: number, unit: number): number | null {
  return unit === 0 ? null : value / unit;
}

function change(before: number, after: number): number | null {
  return before === 0 ? null : after / before - 1;
}

/** Returns the median of at least one value. */
export function median(values: readonly number[]): number {
  return quantile(values.toSorted((a, b) => a - b), 0.5);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** Returns a quantile of ascending values, with linear interpolation. */
function quantile(sorted: readonly number[], fraction: number): number {
  const position = fraction * (sorted.length - 1);
  const below = Math.floor(position), share = position - below;
  return sorted[below]! * (1 - share) + sorted[Math.ceil(position)]! * share;
}

/** The coverage of the interval of the median. */
const coverage = 0.95;

/**
 * Returns a confidence interval of the median of the distribution that ascending values were drawn from, whatever the
 * distribution: the narrowest pair of order statistics, equally far from both ends, that covers the median with at least
 * 95 %. Null below 6 values, where even their range covers less.
 */
function medianInterval(sorted: readonly number[]): [number, number] | null {
  const n = sorted.length;
  let outside = 0, rank = 0;
  for (let below = 0, logProbability = -n * Math.LN2; below < n / 2; below++) {
    // With rank r, the interval misses the median if fewer than r of n fair coins show heads, or fewer than r show tails.
    outside += 2 * Math.exp(logProbability);
    if (outside > 1 - coverage) break;
    rank = below + 1;
    logProbability += Math.log((n - below) / (below + 1));
  }
  return rank === 0 ? null : [sorted[rank - 1]!, sorted[n - rank]!];
}
