// The charts: the title, the caption and the drawing of each.
import { digits } from "../columns.ts";
import { configuration, type Dataset, type Point } from "./dataset.ts";
import { improvements } from "./improvement.ts";
import { along, draw, plain, Plot, type PlotOptions, seriesColor, sizeScale } from "./plot.ts";

/** A chart. */
export interface Chart {
  readonly title: string;
  /** How to read the chart, in a sentence. */
  readonly caption: string;
  /** Draws the chart as SVG. Returns undefined if the records do not have what it shows. */
  draw(dataset: Dataset): string | undefined;
}

/** The charts by the name that the command line uses. */
export const charts = {
  time: {
    title: "Time",
    caption: "The median of the timed calls. The bar is its 95 % interval. Lower is better.",
    draw: (dataset) =>
      lines(dataset, "Milliseconds", ({ kernelTimeMs }) => kernelTimeMs, {
        log: true,
        interval: ({ medianIntervalMs }) => medianIntervalMs,
      }),
  },
  memory: {
    title: "Memory",
    caption: "The peak of live tensors: inputs, output and workspace. Lower is better.",
    draw: (dataset) => lines(dataset, "MiB", ({ peakMemoryBytes: bytes }) => bytes && bytes / 2 ** 20, { log: true }),
  },
  improvement: {
    title: "Improvement",
    caption: "Higher is better; 1 is the baseline.",
    draw: drawImprovement,
  },
  tflops: {
    title: "Rate",
    caption: "Useful operations, which are those of kept assignments, per second. Higher is better.",
    draw: (dataset) => lines(dataset, "TFLOP/s", ({ tflops }) => tflops, { zero: true }),
  },
  tokens: {
    title: "Tokens",
    caption: "Tokens per second. Higher is better.",
    draw: (dataset) => lines(dataset, "Tokens per second", ({ tokensPerSecond }) => tokensPerSecond, { zero: true }),
  },
  roofline: {
    title: "Roofline",
    caption: "The limits of the device: memory bandwidth is the slope, arithmetic is the flat part. " +
      "Memory limits a run below the slope, arithmetic limits a run below the flat part.",
    draw: drawRoofline,
  },
  load: {
    title: "Tokens per expert",
    caption:
      "The assignments of each expert in the largest job: kept and, beyond the capacity, dropped. The line is the mean.",
    draw: drawLoad,
  },
} as const satisfies Record<string, Chart>;

/** A chart's name. */
export type ChartName = keyof typeof charts;

interface LineOptions {
  readonly log?: boolean;
  readonly zero?: boolean;
  readonly interval?: (point: Point) => readonly [number, number] | null;
}

/** Draws a figure along the axis, with a line for each series. */
function lines(
  dataset: Dataset,
  label: string,
  value: (point: Point) => number | null,
  { log = false, zero = false, interval }: LineOptions,
): string | undefined {
  const x = along(dataset.axis.key);
  const rows = dataset.series.flatMap(({ name, points }) =>
    points.flatMap((point) => {
      const y = value(point);
      const [low, high] = interval?.(point) ?? [y, y];
      const title = `${configuration(point)}\n${label}: ${digits(y ?? 0)}`;
      return y === null ? [] : [{ x: x(point), y, low, high, name, title }];
    })
  );
  if (rows.length === 0) return undefined;
  const ranged = interval ? rows.filter(({ low, high }) => low! < high!) : [];
  return draw({
    x: sizeScale(dataset),
    y: {
      type: log ? "log" : "linear",
      label,
      grid: true,
      zero,
      nice: !log,
      tickFormat: plain,
      ...(log ? logTicks(rows) : {}),
    },
    color: seriesColor(dataset),
    marks: [
      Plot.ruleX(ranged, { x: "x", y1: "low", y2: "high", stroke: "name", strokeWidth: 5, strokeOpacity: 0.35 }),
      Plot.lineY(rows, { x: "x", y: "y", stroke: "name", strokeWidth: 2 }),
      Plot.dot(rows, { x: "x", y: "y", fill: "name", r: 4, title: "title" }),
    ],
  });
}

/** Returns ticks that do not overlap: powers of ten, or also their multiples for smaller ranges. */
function logTicks(rows: readonly { y: number }[]): { ticks: number[]; domain: number[] } {
  const values = rows.map(({ y }) => y);
  const lowest = Math.min(...values), highest = Math.max(...values);
  const decades = Math.log10(highest / lowest);
  const steps = decades > 4 ? [1] : decades > 0.6 ? [1, 2, 5] : [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8];
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(lowest)) - 1; power <= Math.ceil(Math.log10(highest)) + 1; power++) {
    ticks.push(...steps.map((step) => Number((step * 10 ** power).toPrecision(3))));
  }
  const low = ticks.findLast((tick) => tick <= lowest)!, high = ticks.find((tick) => tick >= highest * 0.9999)!;
  const domain = low === high ? [low / 1.2, high * 1.2] : [low, high];
  return { ticks: ticks.filter((tick) => tick >= domain[0]! && tick <= domain[1]!), domain };
}

function drawImprovement(dataset: Dataset): string | undefined {
  const { label, points } = improvements(dataset);
  if (points.length === 0) return undefined;
  const x = along(dataset.axis.key);
  const rows = points.map(({ point, series, factor }) => ({
    x: x(point),
    y: factor,
    name: series,
    title: `${configuration(point)}\n${digits(factor)} x`,
  }));
  return draw({
    x: sizeScale(dataset),
    y: { label, grid: true, nice: true, zero: true, tickFormat: (value: number) => `${plain(value)}x` },
    color: seriesColor(dataset),
    marks: [
      Plot.ruleY([1], { stroke: "var(--muted)", strokeDasharray: "4 3" }),
      Plot.lineY(rows, { x: "x", y: "y", stroke: "name", strokeWidth: 2 }),
      Plot.dot(rows, { x: "x", y: "y", fill: "name", r: 4, title: "title" }),
    ],
  });
}

function drawRoofline(dataset: Dataset): string | undefined {
  const rows = dataset.series.flatMap(({ name, points }) =>
    points.filter(({ intensity, tflops, peakTflops }) => intensity && tflops && peakTflops).map((point) => ({
      x: point.intensity!,
      y: point.tflops!,
      peak: point.peakTflops!,
      slope: point.peakGigabytesPerSecond! / 1000,
      place: `${point.device}|${point.dtype}|${point.threads}`,
      name,
      title: `${configuration(point)}\n${digits(point.tflops!)} TFLOP/s, ${
        digits(point.percentOfPeak!)
      } % of peak ${point.boundBy}`,
    }))
  );
  if (rows.length === 0) return undefined;
  const places = Map.groupBy(rows, ({ place }) => place);
  const roofs = [...places.values()].map((group) => ({
    peak: Math.max(...group.map(({ peak }) => peak)),
    slope: Math.max(...group.map(({ slope }) => slope)),
  }));
  const ridge = (row: { peak: number; slope: number }) => row.peak / row.slope;
  const left = Math.min(...rows.map(({ x }) => x), ...roofs.map(ridge)) / 2;
  const right = Math.max(...rows.map(({ x }) => x), ...roofs.map(ridge)) * 2;
  const outline = roofs.flatMap((roof, i) =>
    [left, ridge(roof), right].map((x) => ({ x, y: Math.min(roof.peak, x * roof.slope), roof: i }))
  );
  const ys = [...rows, ...outline].map(({ y }) => ({ y }));
  const options: PlotOptions = {
    x: { type: "log", label: "Operations per byte", tickFormat: plain, ticks: 4, domain: [left, right] },
    y: { type: "log", label: "TFLOP/s", grid: true, tickFormat: plain, ...logTicks(ys) },
    color: seriesColor(dataset),
    marks: [
      Plot.line(outline, { x: "x", y: "y", z: "roof", stroke: "var(--muted)", strokeWidth: 2 }),
      Plot.text(roofs.slice(0, 1), {
        x: ridge,
        y: "peak",
        text: (roof: { peak: number }) => `${digits(roof.peak)} TFLOP/s`,
        textAnchor: "start",
        dy: -8,
        fill: "var(--muted)",
      }),
      Plot.text(roofs.slice(0, 1), {
        x: left,
        y: (roof: { slope: number }) => left * roof.slope,
        text: (roof: { slope: number }) => `${digits(roof.slope * 1000)} GB/s`,
        textAnchor: "start",
        dx: 10,
        dy: 8,
        fill: "var(--muted)",
      }),
      Plot.dot(rows, { x: "x", y: "y", fill: "name", r: 5, title: "title" }),
    ],
  };
  return draw(options);
}

/** The colors of kept and dropped assignments. */
export const loadColors = { kept: "var(--series-1)", dropped: "var(--series-2)" } as const;

function drawLoad({ points }: Dataset): string | undefined {
  const work = ({ tokensPerExpert }: Point) => tokensPerExpert?.reduce((sum, count) => sum + count, 0) ?? 0;
  const largest = points.toSorted((a, b) => work(b) - work(a))[0];
  if (!largest?.tokensPerExpert?.length) return undefined;
  const { tokensPerExpert, capacity } = largest;
  const bars = tokensPerExpert.flatMap((count, expert) => {
    const kept = Math.min(count, capacity ?? Infinity);
    const title = `Expert ${expert}: ${kept} kept${count > kept ? `, ${count - kept} dropped` : ""}`;
    return [{ expert, count: kept, part: "kept", title }, { expert, count: count - kept, part: "dropped", title }];
  });
  const mean = work(largest) / tokensPerExpert.length;
  const every = Math.ceil(tokensPerExpert.length / 16);
  return draw({
    x: {
      label: "Expert",
      type: "band",
      ticks: tokensPerExpert.map((_, i) => i).filter((i) => i % every === 0),
      tickFormat: plain,
    },
    y: { label: "Tokens", grid: true, tickFormat: plain },
    color: { domain: Object.keys(loadColors), range: Object.values(loadColors) },
    marks: [
      Plot.barY(bars, { x: "expert", y: "count", fill: "part", title: "title" }),
      Plot.ruleY([mean], { stroke: "currentColor", strokeDasharray: "4 3" }),
      Plot.ruleY([0], { stroke: "var(--muted)" }),
    ],
  });
}
