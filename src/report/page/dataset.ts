// Records as charts need them: one size along the axis, the rest as series.
import { distinguishingKeys } from "../../bench/configuration.ts";
import { type BenchRecord, columnOf, configurationKeys, type FigureKey } from "../../bench/figures.ts";
import { plural, printable } from "../../text.ts";
import { inWords } from "../columns.ts";

/** A record and the name of its file. */
export type SourcedRecord = BenchRecord & { readonly source: string };

/** A record that ran: its times are known. */
export type Point =
  & SourcedRecord
  & { readonly [Key in "kernelTimeMs" | "kernelTimesMs"]: NonNullable<BenchRecord[Key]> };

/** Points that one line connects. */
export interface Series {
  /** What distinguishes the series from the others of its panel. */
  readonly name: string;
  readonly color: string;
  /** The points in the order of the axis. */
  readonly points: readonly Point[];
}

/** Series that one chart shows. */
export interface Panel {
  /** What distinguishes the panel from the others; empty for the only one. */
  readonly title: string;
  readonly series: readonly Series[];
}

/** The size that charts are drawn along. */
export interface Axis {
  /** The figures that decide on the position: one size, or the batch and the sequence. */
  readonly keys: readonly FigureKey[];
  readonly label: string;
  /** The position of a point. */
  readonly value: (point: Point) => number;
}

/** The data of the charts. */
export interface Dataset {
  /** The size along the axis. */
  readonly axis: Axis;
  /** One panel, or several if there are more series than colors. All have the same scales. */
  readonly panels: readonly Panel[];
  readonly points: readonly Point[];
}

/** The maximum number of series in a panel: the number of colors. */
export const maxSeries = 8;

/** The sizes that charts can be drawn along. The first one that varies is the axis. */
const axisKeys: readonly FigureKey[] = [
  ...configurationKeys.filter((key) => columnOf(key)?.axis && key !== "threads" && key !== "gpus"),
  ...["gpus", "threads"] as const,
];

/** The figures that say how the weights of a job are stored. */
export const storageKeys: readonly FigureKey[] = ["weights", "formats", "gateUpLayout", "weightLayout"];

/** Names a point. */
type Namer = (point: Point) => string;

/** A figure that names points. */
interface Part {
  readonly name: Namer;
  /** Whether the point has the usual value, which a name leaves out if it has other parts. */
  readonly isUsual: (point: Point) => boolean;
}

/**
 * Arranges the records that ran.
 *
 * @param key The size along the axis. Defaults to the first one that varies.
 */
export function arrange(records: readonly SourcedRecord[], key?: FigureKey): Dataset {
  const points = records.filter(hasRun);
  const axis = axisOf(points, key);
  return { axis, panels: panelsOf(points, axis), points };
}

/** Returns the axis along a size, by default the first one that varies. Batch and sequence are both drawn along the tokens of the call. */
function axisOf(points: readonly Point[], given?: FigureKey): Axis {
  const varies = (key: FigureKey, among = points) => new Set(among.map((point) => point[key])).size > 1;
  const key = given ?? axisKeys.find((key) => varies(key)) ?? "batch";
  if (key !== "batch" && key !== "seq") {
    return { keys: [key], label: columnOf(key)?.axis ?? key, value: (point) => Number(point[key]) };
  }
  // One file can vary the batch, and another one the sequence. If a file varies both, the sequence makes series.
  const files = [...Map.groupBy(points, ({ source }) => source).values()];
  const both = files.some((file) => varies("batch", file) && varies("seq", file));
  return { keys: both ? [key] : ["batch", "seq"], label: "Tokens", value: tokensOf };
}

/** Returns the tokens of a call. */
export function tokensOf({ batch, seq }: Pick<BenchRecord, "batch" | "seq">): number {
  return batch * seq;
}

/** Returns the shortest time at the peak rates of the device; null if these are unknown. */
export function floorOf({ kernelTimeMs, percentOfPeak }: Point): number | null {
  return percentOfPeak === null ? null : kernelTimeMs * percentOfPeak / 100;
}

/** Returns the machine that a record is from, for people: the name of its host, if it is known, and its device. */
export function machineOf({ host, device, cpu }: BenchRecord): string {
  const name = device ?? cpu;
  return printable(host === null ? name : `${host}: ${name}`);
}

function hasRun(record: SourcedRecord): record is Point {
  return record.status === "ok" && record.kernelTimeMs !== null;
}

function panelsOf(points: readonly Point[], axis: Axis): Panel[] {
  const parts = seriesParts(points, axis.keys);
  const named = (parts: readonly Part[]): Namer => (point) => {
    const special = parts.filter(({ isUsual }) => !isUsual(point));
    return (special.length > 0 ? special : parts).map(({ name }) => name(point)).join(", ");
  };
  const seriesOf = (points: readonly Point[], name: Namer, names: readonly string[]): Series[] =>
    [...Map.groupBy(points, name)].map(([text, group]) => ({
      name: text || group[0]?.preset || "",
      color: `var(--series-${1 + names.indexOf(text) % maxSeries})`,
      points: group.toSorted((a, b) => axis.value(a) - axis.value(b)),
    }));
  const namesBy = (name: Namer) => [...new Set(points.map(name))];
  const all = named(parts), allNames = namesBy(all);
  if (allNames.length <= maxSeries) return [{ title: "", series: seriesOf(points, all, allNames) }];
  // The part that makes the fewest panels whose series all have colors of their own.
  const splits = parts.map((part) => ({ title: part.name, name: named(parts.filter((other) => other !== part)) }))
    .map((split) => ({ ...split, titles: namesBy(split.title), names: namesBy(split.name) }))
    .filter(({ titles, names }) => titles.length <= maxSeries && names.length > 1 && names.length <= maxSeries)
    .toSorted((a, b) => a.titles.length - b.titles.length);
  const [split] = splits;
  if (split) {
    return [...Map.groupBy(points, split.title)].map(([title, group]) => ({
      title,
      series: seriesOf(group, split.name, split.names),
    }));
  }
  const series = seriesOf(points, all, allNames);
  return Array.from({ length: Math.ceil(series.length / maxSeries) }, (_, i) => ({
    title: `Series ${i * maxSeries + 1} to ${Math.min(series.length, (i + 1) * maxSeries)}`,
    series: series.slice(i * maxSeries, (i + 1) * maxSeries),
  }));
}

/** Returns what distinguishes the points at one place of the axis: the file, and figures of the configuration. */
function seriesParts(points: readonly Point[], axis: readonly FigureKey[]): Part[] {
  const sources = [...new Set(points.map(({ source }) => source))];
  const keys = configurationKeys.filter((key) => !axis.includes(key));
  const distinguishing = sources.flatMap((source) =>
    distinguishingKeys(points.filter((point) => point.source === source), keys, axis)
  );
  return [
    ...(sources.length > 1 ? [{ name: ({ source }: Point) => printable(source), isUsual: () => false }] : []),
    ...keys.filter((key) => distinguishing.includes(key)).map((key): Part => ({
      name: (point) => inWords(key, point),
      isUsual: (point) => point[key] === columnOf(key)?.standard,
    })),
  ];
}

/** Describes the configuration of a point in a few words, by default with its tokens. */
export function configuration(point: SourcedRecord, tokens = plural(tokensOf(point), "token")): string {
  const { device } = point;
  const special = (["op", "skew", "ep"] as const).filter((key) => point[key] !== columnOf(key)?.standard);
  const words = [
    inWords("preset", point),
    ...tokens === "" ? [] : [tokens],
    inWords("formats", point),
    ...special.map((key) => inWords(key, point)),
    device ?? inWords("backend", point),
  ];
  return words.map(printable).join(", ");
}
