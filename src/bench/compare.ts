/**
 * Two sets of records side by side: what became faster, what slower, and what cannot be told.
 *
 * @module
 */
import type { BenchRecord } from "./record.ts";
import { summarize } from "./statistics.ts";

/** What can be said of a configuration. */
export const verdicts = ["faster", "same", "slower", "unclear", "missing"] as const;

/** What can be said of a configuration. */
export type Verdict = typeof verdicts[number];

/** One configuration in both. */
export interface Comparison {
  /** A record of the configuration, for its sizes. */
  readonly record: BenchRecord;
  /** Median times in milliseconds; null where it did not run. */
  readonly beforeMs: number | null;
  readonly afterMs: number | null;
  /** `afterMs` over `beforeMs`. */
  readonly ratio: number | null;
  /** Where the ratio lies, by the 95 % intervals of both medians; null where one of them is of one call. */
  readonly ratioInterval: readonly [number, number] | null;
  readonly verdict: Verdict;
  /** Whether the outputs are those of the same job: null where one is not known. */
  readonly sameOutput: boolean | null;
}

/** What makes a job: records that agree in it are of one configuration. */
const jobKeys = [
  ...["preset", "batch", "seq", "hidden", "intermediate", "experts", "topK", "capacity", "dtype", "seed"] as const,
  ...["activation", "biases", "router"] as const,
];

/** Where it ran; part of a configuration only if one of the sets has several. */
const placeKeys = ["backend", "device", "threads"] as const;

/** Two outputs whose sums are further apart, over the sum of magnitudes, are not of the same job. */
const sumTolerance = 1e-3;

/**
 * Compares records configuration by configuration, in the order of the first set.
 *
 * @param before The records to compare with.
 * @param after The records to judge.
 * @param threshold The change, as a fraction, that is still "same".
 */
export function compare(
  before: readonly BenchRecord[],
  after: readonly BenchRecord[],
  threshold: number,
): Comparison[] {
  const several = placeKeys.filter((key) =>
    [before, after].some((records) => new Set(records.filter(ran).map((record) => record[key])).size > 1)
  );
  const keyOf = (record: BenchRecord) => [...jobKeys, ...several].map((key) => `${record[key]}`).join("|");
  const olds = Map.groupBy(before, keyOf), news = Map.groupBy(after, keyOf);
  return [...new Set([...olds.keys(), ...news.keys()])].map((key) =>
    compareOne(olds.get(key) ?? [], news.get(key) ?? [], threshold)
  );
}

function compareOne(olds: readonly BenchRecord[], news: readonly BenchRecord[], threshold: number): Comparison {
  const record = (news[0] ?? olds[0])!;
  const [before, after] = [times(olds), times(news)].map((list) => list.length > 0 ? summarize(list) : undefined);
  const [beforeMs, afterMs] = [before?.median ?? null, after?.median ?? null];
  const sameOutput = agree(olds[0], news[0]);
  if (!before || !after) {
    return { record, beforeMs, afterMs, ratio: null, ratioInterval: null, verdict: "missing", sameOutput };
  }
  const ratio = after.median / before.median;
  const [a, b] = [before.interval, after.interval];
  const ratioInterval = a && b ? [b[0] / a[1], b[1] / a[0]] as const : null;
  return {
    record,
    beforeMs,
    afterMs,
    ratio,
    ratioInterval,
    verdict: judge(ratio, ratioInterval, threshold),
    sameOutput,
  };
}

function ran({ status }: BenchRecord): boolean {
  return status === "ok";
}

function times(records: readonly BenchRecord[]): number[] {
  return records.filter(ran).flatMap(({ kernelTimesMs }) => kernelTimesMs ?? []);
}

function judge(ratio: number, interval: readonly [number, number] | null, threshold: number): Verdict {
  if (!interval) return "unclear";
  const [low, high] = interval, most = 1 + threshold;
  if (low >= 1 / most && high <= most) return "same";
  if (low <= 1 && high >= 1) return "unclear";
  if (ratio >= 1 / most && ratio <= most) return "same"; // a change, but too small to matter
  return high < 1 ? "faster" : "slower";
}

function agree(a: BenchRecord | undefined, b: BenchRecord | undefined): boolean | null {
  const [before, after, size] = [a?.outputSum, b?.outputSum, a?.outputAbsSum];
  if (typeof before !== "number" || typeof after !== "number" || typeof size !== "number") return null;
  return Math.abs(before - after) <= sumTolerance * size;
}
