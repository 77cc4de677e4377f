// Records as charts want them: one size along the axis, the rest as series.
import type { BenchRecord } from "../../bench/record.ts";

/** A record and the file it is from. */
export type SourcedRecord = BenchRecord & { readonly source: string };

/** A record that ran: its figures are there. */
export type Point = {
  readonly [Key in keyof SourcedRecord]: Key extends "kernelTimeMs" | "kernelTimesMs" | "peakMemoryMb"
    ? NonNullable<SourcedRecord[Key]>
    : SourcedRecord[Key];
};

/** Points that belong together. */
export interface Series {
  /** What tells it from the others. */
  readonly name: string;
  /** In the axis's order. */
  readonly points: readonly Point[];
}

/** What there is to draw. */
export interface Dataset {
  /** The size along the axis. */
  readonly axis: { readonly key: AxisKey; readonly label: string };
  readonly series: readonly Series[];
  readonly points: readonly Point[];
}

/** Sizes that can lie along the axis, the likeliest first, with their names. */
const axes = {
  batch: "Batch size",
  seq: "Tokens a sequence",
  hidden: "Hidden size",
  intermediate: "Intermediate size",
  experts: "Experts",
  topK: "Experts a token goes to",
  threads: "Threads",
} as const;

/** A size along the axis. */
export type AxisKey = keyof typeof axes;

/** How a key's value is said in a series' name. */
const names: Partial<Record<keyof SourcedRecord, (value: unknown) => string>> = {
  source: String,
  backend: String,
  device: String,
  preset: String,
  dtype: String,
  batch: (value) => `batch ${value}`,
  seq: (value) => `seq ${value}`,
  hidden: (value) => `hidden ${value}`,
  intermediate: (value) => `intermediate ${value}`,
  experts: (value) => `${value} experts`,
  topK: (value) => `top ${value}`,
  capacity: (value) => value === null ? "no capacity" : `capacity ${value}`,
  threads: (value) => `${value} threads`,
  seed: (value) => `seed ${value}`,
};

/** Arranges the records that ran. */
export function arrange(records: readonly SourcedRecord[]): Dataset {
  const points = records.filter(({ status, kernelTimeMs }) => status === "ok" && kernelTimeMs !== null) as Point[];
  const varies = (key: keyof Point) => new Set(points.map((point) => point[key])).size > 1;
  const key = (Object.keys(axes) as AxisKey[]).find(varies) ?? "batch";
  const keys = splittingKeys(points, key);
  const nameOf = (point: Point) => keys.map((key) => names[key]!(point[key])).join(", ");
  const series = [...Map.groupBy(points, nameOf)].map(([name, group]) => ({
    name: name || points[0]!.preset,
    points: group.toSorted((a, b) => Number(a[key]) - Number(b[key])),
  }));
  return { axis: { key, label: axes[key] }, series, points };
}

/** The keys that tell points at one place of the axis apart; those that follow from others are left out. */
function splittingKeys(points: readonly Point[], axis: AxisKey): (keyof Point)[] {
  const keys: (keyof Point)[] = [];
  const groups = (keys: (keyof Point)[]) =>
    new Set(points.map((point) => keys.map((key) => point[key]).join("|"))).size;
  for (const key of Object.keys(names) as (keyof Point)[]) {
    if (key !== axis && groups([axis, ...keys, key]) > groups([axis, ...keys])) keys.push(key);
  }
  return keys;
}

/** A point's configuration in a few words. */
export function configuration(point: SourcedRecord): string {
  const { preset, batch, seq, backend, dtype } = point;
  return `${preset}, batch ${batch}, seq ${seq}, ${dtype}, ${backend}`;
}
