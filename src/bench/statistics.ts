/**
 * What a series of timings says: its middle, its spread, and how sure one can be of the middle.
 *
 * @module
 */

/** A series of measurements, summarized. In the unit of the measurements but for `noise` and `drift`. */
export interface Summary {
  readonly count: number;
  readonly median: number;
  readonly mean: number;
  readonly min: number;
  readonly max: number;
  /** Median absolute deviation from the median. */
  readonly mad: number;
  /** Interquartile range. */
  readonly iqr: number;
  /** Where the median lies with 95 % confidence; null for a single measurement. See {@linkcode medianInterval}. */
  readonly interval: readonly [number, number] | null;
  /** Half the interval's width over the median; null for a single measurement. */
  readonly noise: number | null;
  /** Measurements far from the rest: those whose distance from the median is over 14.8 MAD, ten standard deviations. */
  readonly outliers: number;
  /** How much slower the second half is than the first, as a fraction; null below 8 measurements. */
  readonly drift: number | null;
}

/** Hyperfine's bound: ten standard deviations of normal noise. */
const outlierDistance = 10 * 1.4826;

/** Summarizes at least one measurement. */
export function summarize(values: readonly number[]): Summary {
  const sorted = values.toSorted((a, b) => a - b);
  const median = quantile(sorted, 0.5);
  const distances = sorted.map((value) => Math.abs(value - median));
  const mad = quantile(distances.toSorted((a, b) => a - b), 0.5);
  const interval = medianInterval(sorted);
  const half = values.length >> 1;
  return {
    count: values.length,
    median,
    mean: values.reduce((sum, value) => sum + value, 0) / values.length,
    min: sorted[0]!,
    max: sorted.at(-1)!,
    mad,
    iqr: quantile(sorted, 0.75) - quantile(sorted, 0.25),
    interval,
    noise: interval && (interval[1] - interval[0]) / 2 / median,
    outliers: mad > 0 ? distances.filter((distance) => distance > outlierDistance * mad).length : 0,
    drift: values.length < 8 ? null : middle(values.slice(-half)) / middle(values.slice(0, half)) - 1,
  };
}

/** The median of at least one value. */
export function middle(values: readonly number[]): number {
  return quantile(values.toSorted((a, b) => a - b), 0.5);
}

/** A quantile of ascending values, straight between neighbours. */
function quantile(sorted: readonly number[], fraction: number): number {
  const position = fraction * (sorted.length - 1);
  const below = Math.floor(position), share = position - below;
  return sorted[below]! * (1 - share) + sorted[Math.ceil(position)]! * share;
}

/**
 * Where the median of what ascending values were drawn from lies with 95 % confidence, whatever their distribution: between
 * the order statistics of ranks n/2 ∓ 0.98 √n. Below 6 values that is more than they can tell (five span the median with
 * 94 %, three with 75 %), and the answer is their range. Null for a single value.
 */
function medianInterval(sorted: readonly number[]): [number, number] | null {
  const n = sorted.length;
  if (n < 2) return null;
  const rank = n < 6 ? 1 : Math.max(1, Math.floor(n / 2 - 0.98 * Math.sqrt(n)));
  return [sorted[rank - 1]!, sorted[n - rank]!];
}
