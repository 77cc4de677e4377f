// Observable Plot, which draws into a document without a browser.
import * as Plot from "./library.js";
import type { FigureKey } from "../../bench/figures.ts";
import type { Dataset, Point } from "./dataset.ts";

export { Plot };

/** The width of a chart in its own units. Pages scale it. */
export const chartWidth = 400;

/** The height of a chart. */
export const chartHeight = 280;

/** The colors of the series, as the style sheet names them. */
const colors = Array.from({ length: 8 }, (_, i) => `var(--series-${i + 1})`);

/** The options of a chart. */
export type PlotOptions = Omit<Plot.PlotOptions, "document">;

/** Draws a chart as SVG. */
export function draw(options: PlotOptions): string {
  const { document } = Plot.parseHTML("<html><body></body></html>");
  return Plot.plot({
    width: chartWidth,
    height: chartHeight,
    marginLeft: 56,
    marginRight: 20,
    marginBottom: 40,
    marginTop: 28,
    className: "chart",
    style: { fontSize: "12px", background: "none" },
    ...options,
    document,
  }).outerHTML;
}

/** Returns the color of each series. */
export function seriesColor({ series }: Dataset): { domain: string[]; range: string[] } {
  return { domain: series.map(({ name }) => name), range: series.map((_, i) => colors[i % colors.length]!) };
}

/** Returns the scale of the axis. Few values are the ticks; values that are far apart get a logarithmic scale. */
export function sizeScale({ axis: { key, label }, points }: Dataset): Plot.ScaleOptions {
  const values = [...new Set(points.map((point) => point[key] as number))].toSorted((a, b) => a - b);
  const far = values.length > 2 && values.at(-1)! / values[0]! >= 4;
  const single = values.length === 1 ? { domain: [values[0]! / 2, values[0]! * 2] } : {};
  const few = values.length <= 10 ? { ticks: values } : {};
  return {
    type: far || values.length === 1 ? "log" : "linear",
    base: 2,
    label,
    tickFormat: plain,
    ...few,
    ...single,
  };
}

/** Formats the number of a tick without an exponent. */
export function plain(value: number): string {
  return value >= 10_000 ? value.toLocaleString("en-US") : `${Number(value.toPrecision(3))}`;
}

/** Returns the position of a point along the axis. */
export function along(key: FigureKey): (point: Point) => number {
  return (point) => point[key] as number;
}
