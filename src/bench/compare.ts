/**
 * Comparison of two sets of records: what became faster, what became slower, and what remains unclear.
 *
 * @module
 */
import { distinguishingKeys, identity } from "./configuration.ts";
import { type BenchRecord, type FigureKey, jobKeys, placeKeys } from "./figures.ts";
import { unreliable } from "./hints.ts";
import { summarize } from "../statistics.ts";

/** The possible results of a comparison. */
export const verdicts = ["faster", "same", "slower", "unclear", "missing"] as const;

/** The result of a comparison. */
export type Verdict = typeof verdicts[number];

/** One configuration in both sets. */
export interface Comparison {
  /** A record of the configuration, for its sizes. */
  readonly record: BenchRecord;
  /** The median times in milliseconds; null if the configuration did not run. */
  readonly beforeMs: number | null;
  readonly afterMs: number | null;
  /** `afterMs` over `beforeMs`. */
  readonly ratio: number | null;
  /** The range of the ratio, from the 95 % intervals of both medians; null if one of them is unknown. */
  readonly ratioInterval: readonly [number, number] | null;
  readonly verdict: Verdict;
  /** Why the verdict is "unclear" or "missing"; null for other verdicts. */
  readonly reason: string | null;
  /** Whether both outputs are those of the same job; null if one of them is unknown. */
  readonly sameOutput: boolean | null;
}

/** Two sums that differ by more than this share of the sum of magnitudes are not of the same job. */
const sumTolerance = 1e-3;

/**
 * Compares records configuration by configuration, in the order of the first set. Where a job ran is a part of its
 * configuration only if one of the sets has several places.
 *
 * @param before The records to compare with.
 * @param after The records to judge.
 * @param threshold The change, as a fraction, that still counts as "same".
 */
export function compare(
  before: readonly BenchRecord[],
  after: readonly BenchRecord[],
  threshold: number,
): Comparison[] {
  const keys = configurationKeys(before, after);
  const [befores, afters] = [before, after].map((records) =>
    Map.groupBy(records, (record) => identity(record, keys))
  ) as [Map<string, BenchRecord[]>, Map<string, BenchRecord[]>];
  return [...new Set([...befores.keys(), ...afters.keys()])].map((configuration) =>
    compareOne(befores.get(configuration) ?? [], afters.get(configuration) ?? [], threshold)
  );
}

/** Returns the figures that make a configuration here, without those that a record of an older version does not have. */
function configurationKeys(before: readonly BenchRecord[], after: readonly BenchRecord[]): FigureKey[] {
  const places = new Set([before, after].flatMap((records) => distinguishingKeys(records.filter(ran), placeKeys)));
  const known = (key: FigureKey) => [...before, ...after].every((record) => record[key] !== undefined);
  return [...jobKeys, ...places].filter(known);
}

/**
 * Returns why configurations have no partner: the figures of the job in which the two sets have nothing in common, and those
 * that one of them does not record.
 */
export function jobDifferences(before: readonly BenchRecord[], after: readonly BenchRecord[]): string[] {
  return jobKeys.flatMap((key) => {
    const [a, b] = [before, after].map((records) => new Set(records.map((record) => record[key])));
    if (!a || !b || !a.isDisjointFrom(b)) return [];
    const text = (values: Set<unknown>) =>
      [...values].map((value) => value === undefined ? "not recorded" : `${value}`);
    return [`${key}: ${text(a).join(", ")}; ${text(b).join(", ")}`];
  });
}

function compareOne(before: readonly BenchRecord[], after: readonly BenchRecord[], threshold: number): Comparison {
  const record = (after[0] ?? before[0])!;
  const [a, b] = [before, after].map((records) => {
    const times = records.filter(ran).flatMap(({ kernelTimesMs }) => kernelTimesMs ?? []);
    return times.length > 0 ? summarize(times) : undefined;
  });
  const medians = { beforeMs: a?.median ?? null, afterMs: b?.median ?? null };
  const sameOutput = outputsAgree(before[0], after[0]);
  if (!a || !b) {
    const reason = `${a ? "after" : "before"} has no times`;
    return { record, ...medians, ratio: null, ratioInterval: null, verdict: "missing", reason, sameOutput };
  }
  const ratio = b.median / a.median;
  const ratioInterval = a.interval && b.interval
    ? [b.interval[0] / a.interval[1], b.interval[1] / a.interval[0]] as const
    : null;
  const doubt = [...before, ...after].filter(ran).flatMap(unreliable)[0];
  const verdict = doubt === undefined ? judge(ratio, ratioInterval, threshold) : "unclear";
  const reason = verdict === "unclear"
    ? doubt ?? (ratioInterval ? "the intervals overlap" : "fewer than 6 calls")
    : null;
  return { record, ...medians, ratio, ratioInterval, verdict, reason, sameOutput };
}

function ran({ status }: BenchRecord): boolean {
  return status === "ok";
}

/** Judges a ratio of times and its interval. A change of at most `threshold`, as a fraction, counts as "same". */
export function judge(ratio: number, interval: readonly [number, number] | null, threshold: number): Verdict {
  if (!interval) return "unclear";
  const [low, high] = interval, largest = 1 + threshold;
  if (low >= 1 / largest && high <= largest) return "same";
  if (low <= 1 && high >= 1) return "unclear";
  if (ratio >= 1 / largest && ratio <= largest) return "same"; // a change, but too small to matter
  return high < 1 ? "faster" : "slower";
}

/** Returns whether both outputs are those of the same job; null if one of them is unknown. */
export function outputsAgree(a: BenchRecord | undefined, b: BenchRecord | undefined): boolean | null {
  const [before, after, magnitude] = [a?.outputSum, b?.outputSum, a?.outputAbsSum];
  if (typeof before !== "number" || typeof after !== "number" || typeof magnitude !== "number") return null;
  return Math.abs(before - after) <= sumTolerance * magnitude;
}
