// Records as charts need them: one size along the axis, the rest as series.
import { distinguishingKeys } from "../../bench/configuration.ts";
import { type BenchRecord, columnOf, configurationKeys, type FigureKey } from "../../bench/figures.ts";

/** A record and the name of its file. */
export type SourcedRecord = BenchRecord & { readonly source: string };

/** A record that ran: its times are known. */
export type Point =
  & SourcedRecord
  & { readonly [Key in "kernelTimeMs" | "kernelTimesMs"]: NonNullable<BenchRecord[Key]> };

/** Points that one line connects. */
export interface Series {
  /** What distinguishes the series from the others. */
  readonly name: string;
  /** The points in the order of the axis. */
  readonly points: readonly Point[];
}

/** The data of the charts. */
export interface Dataset {
  /** The size along the axis. */
  readonly axis: { readonly key: FigureKey; readonly label: string };
  readonly series: readonly Series[];
  readonly points: readonly Point[];
}

/** The sizes that charts can be drawn along. The first one that varies is the axis. */
const axisKeys: readonly FigureKey[] = [
  ...configurationKeys.filter((key) => columnOf(key)?.axis && key !== "threads"),
  "threads",
];

/** Arranges the records that ran. */
export function arrange(records: readonly SourcedRecord[]): Dataset {
  const points = records.filter(hasRun);
  const varies = (key: FigureKey) => new Set(points.map((point) => point[key])).size > 1;
  const axis = axisKeys.find(varies) ?? "batch";
  const sources = [...new Set(points.map(({ source }) => source))];
  const keys = seriesKeys(points, axis, sources);
  const nameOf = (point: Point) =>
    [
      ...(sources.length > 1 ? [point.source] : []),
      ...keys.map((key) => inWords(key, point)),
    ].join(", ");
  const series = [...Map.groupBy(points, nameOf)].map(([name, group]) => ({
    name: name || group[0]?.preset || "",
    points: group.toSorted((a, b) => Number(a[axis]) - Number(b[axis])),
  }));
  return { axis: { key: axis, label: columnOf(axis)?.axis ?? axis }, series, points };
}

function hasRun(record: SourcedRecord): record is Point {
  return record.status === "ok" && record.kernelTimeMs !== null;
}

/** Returns the figures that distinguish the points of one file at one place of the axis. */
function seriesKeys(points: readonly Point[], axis: FigureKey, sources: readonly string[]): FigureKey[] {
  const keys = configurationKeys.filter((key) => key !== axis);
  const distinguishing = sources.flatMap((source) =>
    distinguishingKeys(points.filter((point) => point.source === source), keys, [axis])
  );
  return keys.filter((key) => distinguishing.includes(key));
}

function inWords(key: FigureKey, point: Point): string {
  const value = point[key], words = columnOf(key)?.words;
  return words ? words(value) : `${value ?? `no ${key}`}`;
}

/** Describes the configuration of a point in a few words. */
export function configuration(point: SourcedRecord): string {
  const { preset, batch, seq, backend, dtype } = point;
  return `${preset}, batch ${batch}, seq ${seq}, ${dtype}, ${backend}`;
}
