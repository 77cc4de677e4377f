// The charts: the title, the caption and the drawing of each.
import type { FigureKey } from "../../bench/figures.ts";
import { digits } from "../columns.ts";
import { arrange, configuration, type Dataset, floorOf, type Panel, type Point } from "./dataset.ts";
import { improvements } from "./improvement.ts";
import { drawKernels } from "./kernels.ts";
import { drawLoad, loadColors } from "./load.ts";
import { alongGpus, efficiencyIn, linkFloor, linkRate } from "./scaling.ts";
import { draw, type Drawing, logScale, plain, Plot, seriesColors, sizeScale } from "./plot.ts";
import { drawRoofline } from "./roofline.ts";

/** A chart. */
export interface Chart {
  readonly title: string;
  /** How to read the chart, in a sentence. */
  readonly caption: string;
  /** The names and colors of the legend, if they are not the series. */
  readonly legend?: Readonly<Record<string, string>>;
  /** The size along the axis, if it is another one than that of the other charts. */
  readonly axis?: FigureKey;
  /** Draws a panel, with scales for all of them. Returns undefined if the records do not have what it shows. */
  draw(dataset: Dataset, panel: Panel): Drawing | undefined;
}

/** The charts by the name that the command line uses. */
export const charts = {
  time: {
    title: "Time",
    caption: "The median of the timed calls. The bar is its 95\u00a0% interval. " +
      "The dashed line is the floor: the time at the peak rates of the device. Lower is better.",
    draw: (dataset, panel) =>
      lines(dataset, panel, "Milliseconds", ({ kernelTimeMs }) => kernelTimeMs, {
        log: true,
        interval: ({ medianIntervalMs }) => medianIntervalMs,
        limit: floorOf,
      }),
  },
  memory: {
    title: "Memory",
    caption: "The peak of live tensors: inputs, output and workspace. Lower is better.",
    draw: (dataset, panel) =>
      lines(dataset, panel, "MiB", ({ peakMemoryBytes }) => peakMemoryBytes && peakMemoryBytes / 2 ** 20, {
        log: true,
      }),
  },
  improvement: {
    title: "Improvement",
    caption: "Higher is better; 1 is the baseline.",
    draw(dataset, panel) {
      const { label, factor } = improvements(dataset);
      return lines(dataset, panel, label, factor, { baseline: 1, unit: "x" });
    },
  },
  tflops: {
    title: "Rate",
    caption: "Useful operations, which are those of kept assignments, per second. Higher is better.",
    draw: (dataset, panel) => lines(dataset, panel, "TFLOP/s", ({ tflops }) => tflops),
  },
  tokens: {
    title: "Tokens",
    caption: "Tokens per second. The dashed line is the rate at the peak rates of the device. Higher is better.",
    draw: (dataset, panel) =>
      lines(dataset, panel, "Tokens per second", ({ tokensPerSecond }) => tokensPerSecond, {
        log: true,
        limit: ({ tokensPerSecond, percentOfPeak }) =>
          tokensPerSecond && percentOfPeak && 100 * tokensPerSecond / percentOfPeak,
      }),
  },
  roofline: {
    title: "Roofline",
    caption: "The limits of the device: memory bandwidth is the slope, arithmetic is the flat part. " +
      "Memory limits a run below the slope, arithmetic limits a run below the flat part.",
    draw: drawRoofline,
  },
  kernels: {
    title: "Kernels",
    caption:
      "The time of each kernel in the largest job that was profiled. The line in a bar is its floor: the time that " +
      "its operations or its bytes need at the peak rates.",
    legend: {},
    draw: drawKernels,
  },
  scaling: {
    title: "Scaling",
    caption:
      "The time of a call over several GPUs, each with the tokens of the job. The dashed line is the floor of the link: " +
      `the time of the rows that a GPU receives, at ${linkRate}. Lower is better.`,
    axis: "gpus",
    draw: (dataset, panel) =>
      alongGpus(panel) &&
      lines(dataset, panel, "Milliseconds", ({ kernelTimeMs }) => kernelTimeMs, { log: true, limit: linkFloor }),
  },
  efficiency: {
    title: "Efficiency",
    caption: "The time of one GPU over the time of several that have as many tokens each. Higher is better.",
    axis: "gpus",
    draw: (dataset, panel) =>
      alongGpus(panel) && lines(dataset, panel, "Percent", efficiencyIn(dataset), { baseline: 100, unit: " %" }),
  },
  load: {
    title: "Tokens per expert",
    caption: "The assignments of each expert in the largest job: kept and, beyond the capacity, dropped. " +
      "The line is the mean.",
    legend: loadColors,
    draw: drawLoad,
  },
} as const satisfies Record<string, Chart>;

/** The name of a chart. */
export type ChartName = keyof typeof charts;

/** Returns a chart by its name. */
export function chartOf(name: ChartName): Chart {
  return charts[name];
}

/** Arranges the records along the axis of a chart. */
export function datasetOf({ axis }: Chart, dataset: Dataset): Dataset {
  return axis ? arrange(dataset.points, axis) : dataset;
}

/** Above this factor between the largest and the smallest value, small values are invisible on a linear scale. */
const widest = 20;

interface LineOptions {
  /** Whether the scale is always logarithmic. */
  readonly log?: boolean;
  /** The value of a dashed line. */
  readonly baseline?: number;
  /** What follows the number of a tick. */
  readonly unit?: string;
  /** The best possible value. */
  readonly limit?: (point: Point) => number | null;
  readonly interval?: (point: Point) => readonly [number, number] | null;
}

/** Draws a figure along the axis, with a line for each series. */
function lines(
  dataset: Dataset,
  panel: Panel,
  label: string,
  value: (point: Point) => number | null,
  { log: always = false, baseline, unit = "", interval, limit }: LineOptions = {},
): Drawing | undefined {
  const x = dataset.axis.value;
  const all = dataset.points.map(value).filter((value) => value !== null);
  const log = always || (Math.min(...all) > 0 && Math.max(...all) > widest * Math.min(...all));
  const rows = panel.series.flatMap(({ name, points }) =>
    points.flatMap((point) => {
      const y = value(point);
      if (y === null || (log && y <= 0)) return [];
      const [low, high] = interval?.(point) ?? [y, y];
      return [{ x: x(point), y, low, high, name, title: `${configuration(point)}\n${label}: ${digits(y)}${unit}` }];
    })
  );
  if (rows.length === 0) return undefined;
  const limits = panel.series.flatMap(({ name, points }) =>
    points.flatMap((point) => {
      const y = limit?.(point) ?? null;
      return y === null || y <= 0 ? [] : [{ x: x(point), y, name }];
    })
  );
  const values = dataset.points.flatMap((point) => [value(point), limit?.(point) ?? null, ...(interval?.(point) ?? [])])
    .filter((value) => value !== null && (!log || value > 0)) as number[];
  const scale = log ? logScale(values) : { domain: [0, Math.max(...values, baseline ?? 0)], nice: true };
  const svg = draw({
    x: sizeScale(dataset),
    y: { label, grid: true, tickFormat: (value: number) => `${plain(value)}${unit}`, ...scale },
    color: seriesColors(panel),
    marks: [
      ...(baseline === undefined ? [] : [Plot.ruleY([baseline], { stroke: "var(--muted)", strokeDasharray: "4 3" })]),
      Plot.lineY(limits, {
        ...{ x: "x", y: "y", z: "name", stroke: "name", strokeWidth: 1.5, strokeDasharray: "4 3", strokeOpacity: 0.8 },
      }),
      Plot.ruleX(rows.filter(({ low, high }) => low < high), {
        ...{ x: "x", y1: "low", y2: "high", stroke: "name", strokeWidth: 5, strokeOpacity: 0.35 },
      }),
      Plot.lineY(rows, { x: "x", y: "y", z: "name", stroke: "name", strokeWidth: 2 }),
      Plot.dot(rows, { x: "x", y: "y", fill: "name", r: 4, title: "title" }),
    ],
  });
  return { svg, ...pivot(rows, dataset.axis.label, panel, (y) => `${digits(y)}${unit}`) };
}

/** Arranges the points of lines as a table: a row for each place of the axis, a column for each series. */
function pivot(
  points: readonly { readonly x: number; readonly y: number; readonly name: string }[],
  axis: string,
  { series }: Panel,
  format: (y: number) => string,
): Pick<Drawing, "head" | "rows"> {
  const names = series.map(({ name }) => name);
  const places = [...Map.groupBy(points, ({ x }) => x)].toSorted(([a], [b]) => a - b);
  return {
    head: [axis, ...names],
    rows: places.map(([x, group]) => [
      plain(x),
      ...names.map((name) => group.filter((point) => point.name === name).map(({ y }) => format(y)).join(" ")),
    ]),
  };
}
