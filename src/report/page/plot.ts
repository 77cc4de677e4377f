// Observable Plot, which draws into a document without a browser.
import { brotliDecompressSync } from "node:zlib";
import type { Dataset, Panel } from "./dataset.ts";
import type * as Library from "./library.d.ts";
import { library } from "./library.ts";

/** The library. Its source is packed: brotli in base64, a third of the size. */
export const Plot: typeof Library = await import(
  // a data URL needs no permission, and executables load it too
  `data:text/javascript;base64,${brotliDecompressSync(Uint8Array.fromBase64(library)).toString("base64")}`
);

/** The width of a chart in its own units. Pages scale it. */
export const chartWidth = 400;

/** The height of a chart. */
export const chartHeight = 280;

/** The distances between the frame of a chart and its edges. */
export const margins = { left: 56, right: 20, bottom: 40, top: 28 } as const;

/** The options of a chart. */
export type PlotOptions = Omit<Library.PlotOptions, "document">;

/** A chart of one panel. */
export interface Drawing {
  /** The picture, an SVG element. */
  readonly svg: string;
  /** The job that the chart shows, if it is only one. */
  readonly subject?: string;
  /** The names of the table's columns. */
  readonly head: readonly string[];
  /** The same data as a table, for readers who cannot see the picture. */
  readonly rows: readonly (readonly string[])[];
}

/** Draws a chart as SVG. */
export function draw(options: PlotOptions): string {
  const { document } = Plot.parseHTML("<html><body></body></html>");
  return Plot.plot({
    width: chartWidth,
    height: chartHeight,
    marginLeft: margins.left,
    marginRight: margins.right,
    marginBottom: margins.bottom,
    marginTop: margins.top,
    className: "chart",
    style: { fontSize: "12px", background: "none" },
    ...options,
    document,
  }).outerHTML;
}

/** Returns the colors of the series of a panel. */
export function seriesColors({ series }: Panel): Library.ScaleOptions & { domain: string[]; range: string[] } {
  return { domain: series.map(({ name }) => name), range: series.map(({ color }) => color) };
}

/** Returns the scale of the axis. Few values are the ticks; values that are far apart get a logarithmic scale. */
export function sizeScale({ axis: { label, value }, points }: Dataset): Library.ScaleOptions {
  const values = [...new Set(points.map(value))].toSorted((a, b) => a - b);
  const [smallest = 1, largest = smallest] = [values[0], values.at(-1)];
  const single = values.length === 1;
  const far = values.length > 2 && largest / smallest >= 4;
  return {
    type: far || single ? "log" : "linear",
    base: 2,
    label,
    tickFormat: plain,
    domain: single ? [smallest / 2, largest * 2] : [smallest, largest],
    ...(values.length <= 10 ? { ticks: far ? spaced(values) : values } : {}),
  };
}

/** Leaves out values that are too near to the one before to have a tick of their own on a logarithmic scale. */
function spaced(values: readonly number[]): number[] {
  const nearest = Math.log((values.at(-1) ?? 1) / (values[0] ?? 1)) / 12;
  const kept: number[] = [];
  for (const value of values) if (Math.log(value / (kept.at(-1) ?? 0)) >= nearest) kept.push(value);
  return kept;
}

/** The ticks of a decade for a range that is narrower than one. */
const narrowSteps = [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8];

/** Formats the number of a tick without an exponent. Integers are exact. */
export function plain(value: number): string {
  if (value >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  if (Number.isInteger(value) && value < 10_000) return `${value}`;
  return value >= 10_000 ? value.toLocaleString("en-US") : `${Number(value.toPrecision(3))}`;
}

/**
 * Returns the ticks and the domain of a logarithmic scale: powers of ten, or also their multiples for smaller ranges. Plot labels
 * only ticks that are few enough for the range.
 */
export function logScale(values: readonly number[]): { type: "log"; ticks: number[]; domain: [number, number] } {
  const lowest = Math.min(...values), highest = Math.max(...values);
  const decades = Math.log10(highest / lowest);
  const steps = decades > 2.8 ? [1] : decades > 1.3 ? [1, 3] : decades > 0.6 ? [1, 2, 5] : narrowSteps;
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(lowest)) - 1; power <= Math.ceil(Math.log10(highest)) + 1; power++) {
    ticks.push(...steps.map((step) => Number((step * 10 ** power).toPrecision(3))));
  }
  const low = ticks.findLast((tick) => tick <= lowest) ?? lowest;
  const high = ticks.find((tick) => tick >= highest * 0.9999) ?? highest;
  const domain: [number, number] = low === high ? [low / 1.2, high * 1.2] : [low, high];
  return { type: "log", ticks: ticks.filter((tick) => tick >= domain[0] && tick <= domain[1]), domain };
}
