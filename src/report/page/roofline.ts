// The roofline: the rates of the runs below the limits of the device.
import { distinguishingKeys } from "../../bench/configuration.ts";
import { digits, inWords } from "../columns.ts";
import { configuration, type Dataset, type Panel, type Point } from "./dataset.ts";
import type { Mark } from "./library.d.ts";
import { chartHeight, draw, type Drawing, logScale, margins, plain, Plot, seriesColors } from "./plot.ts";

/** The limits of one device. */
interface Roof {
  /** In 10^12 operations per second. */
  readonly peak: number;
  /** In 10^12 bytes per second. */
  readonly slope: number;
  readonly label: string;
}

/** A point whose rates and limits are known. */
type RoofedPoint =
  & Point
  & { readonly [Key in "intensity" | "tflops" | "peakTflops" | "peakGigabytesPerSecond"]: number };

/** The figures that decide on the limits. A CPU, whose limits are measured, multiplies every dtype in f32. */
const roofKeys = { device: ["device", "engine", "dtype"], measured: ["device", "engine", "threads"] } as const;

/** Draws the roofline of a panel. */
export function drawRoofline(dataset: Dataset, panel: Panel): Drawing | undefined {
  const roofed = dataset.points.filter(isRoofed);
  const rows = panel.series.flatMap(({ name, points }) =>
    points.filter(isRoofed).map((point) => ({
      x: point.intensity,
      y: point.tflops,
      name,
      title: describe(point),
      point,
    }))
  );
  if (rows.length === 0) return undefined;
  const all = roofsOf(roofed), roofs = roofsOf(panel.series.flatMap(({ points }) => points.filter(isRoofed)));
  const ridge = ({ peak, slope }: Roof) => peak / slope;
  const xs = [...roofed.map(({ intensity }) => intensity), ...all.map(ridge)];
  const left = Math.min(...xs) / 2, right = Math.max(...xs) * 2;
  const outline = roofs.flatMap((roof, i) =>
    [left, ridge(roof), right].map((x) => ({ x, y: Math.min(roof.peak, x * roof.slope), roof: i }))
  );
  const lineCount = all.flatMap(({ label }) => linesOf(label)).length; // a line of a label has room in a factor of 2
  const scale = logScale([
    ...roofed.map(({ tflops }) => tflops),
    ...all.flatMap(({ peak, slope }) => [2 ** lineCount * peak, left * slope]),
  ]);
  const svg = draw({
    x: { type: "log", label: "Operations per byte", tickFormat: plain, ticks: 4, domain: [left, right] },
    y: { label: "TFLOP/s", grid: true, tickFormat: plain, ...scale },
    color: seriesColors(panel),
    marks: [
      Plot.line(outline, { x: "x", y: "y", z: "roof", stroke: "var(--muted)", strokeWidth: 2 }),
      ...labels(roofs, right, scale.domain),
      Plot.dot(rows, { x: "x", y: "y", fill: "name", r: 5, title: "title" }),
    ],
  });
  return {
    svg,
    head: ["Run", "operations per byte", "TFLOP/s", "% of peak", "limited by"],
    rows: rows.map(({ x, y, point }) => [
      ...[configuration(point), digits(x), digits(y)],
      ...point.percentOfPeak === null ? ["-", "-"] : [digits(point.percentOfPeak), `${point.boundBy}`],
    ]),
  };
}

function isRoofed(point: Point): point is RoofedPoint {
  return [point.intensity, point.tflops, point.peakTflops, point.peakGigabytesPerSecond].every((value) => value);
}

function describe(point: RoofedPoint): string {
  const { percentOfPeak, boundBy, tflops } = point;
  const share = percentOfPeak === null ? "" : `, ${digits(percentOfPeak)} % of peak ${boundBy}`;
  return `${configuration(point)}\n${digits(tflops)} TFLOP/s${share}`;
}

/** Returns the limits of every device, engine, dtype and number of threads, from the best of their measurements. */
function roofsOf(points: readonly RoofedPoint[]): Roof[] {
  const keys = distinguishingKeys(points, roofKeys[points[0]?.peakSource === "measured" ? "measured" : "device"]);
  const nameOf = (point: Point) => keys.map((key) => inWords(key, point)).join(", ");
  return [...Map.groupBy(points, nameOf)].map(([name, group]) => {
    const peak = Math.max(...group.map(({ peakTflops }) => peakTflops));
    const bandwidth = Math.max(...group.map(({ peakGigabytesPerSecond }) => peakGigabytesPerSecond));
    const limits = `${digits(peak)} TFLOP/s, ${digits(bandwidth)} GB/s`;
    return { peak, slope: bandwidth / 1000, label: name ? `${name}: ${limits}` : limits };
  });
}

/** The distance between the lines of two labels. */
const lineHeight = 14;

/** The longest line of a label that fits a chart, in characters. */
const longestLine = 48;

/** Labels every roof above its flat part. Long labels get a second line. Labels that would overlap move up. */
function labels(roofs: readonly Roof[], x: number, [low, high]: readonly [number, number]): Mark[] {
  const height = chartHeight - margins.top - margins.bottom;
  let free = Infinity;
  return roofs.toSorted((a, b) => a.peak - b.peak).flatMap(({ peak, label }) => {
    const above = height * Math.log(high / peak) / Math.log(high / low) - 8;
    return linesOf(label).toReversed().map((line) => {
      const y = free = Math.min(above, free - lineHeight);
      return Plot.text([{ x, y: peak }], {
        x: "x",
        y: "y",
        text: () => line,
        textAnchor: "end",
        dy: y - above - 8,
        fill: "var(--muted)",
        stroke: "var(--page)",
        strokeWidth: 4,
        fontSize: roofs.length > 1 ? 10 : 12,
      });
    });
  });
}

/** Breaks a label after its name, and shortens a name that is still too long. */
function linesOf(label: string): string[] {
  const end = label.lastIndexOf(": ");
  if (label.length <= longestLine || end < 0) return [label];
  const name = label.slice(0, end);
  return [name.length > longestLine ? `${name.slice(0, longestLine - 1)}…` : name, label.slice(end + 2)];
}
