// Observable Plot, drawing into a document of its own.
import * as Plot from "./library.js";
import type { AxisKey, Dataset, Point } from "./dataset.ts";

export { Plot };

/** The size of a chart in its own units; pages scale it. */
export const chartWidth = 400;

/** The height of a chart. */
export const chartHeight = 280;

/** Colours, as the style sheet names them. */
const colors = Array.from({ length: 8 }, (_, i) => `var(--series-${i + 1})`);

/** A chart's options. Everything else is Plot's. */
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

/** The colour of each series. */
export function seriesColor({ series }: Dataset): { domain: string[]; range: string[] } {
  return { domain: series.map(({ name }) => name), range: series.map((_, i) => colors[i % colors.length]!) };
}

/** The axis of a size: its values as ticks where they are few, in powers where they are far apart. */
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

/** A tick as people write it: no exponent, thousands marked. */
export function plain(value: number): string {
  return value >= 10_000 ? value.toLocaleString("en-US") : `${Number(value.toPrecision(3))}`;
}

/** A point's place along the axis. */
export function along(key: AxisKey): (point: Point) => number {
  return (point) => point[key] as number;
}
