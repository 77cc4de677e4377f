// The chart of the kernels of one call.
import { digits } from "../columns.ts";
import type { ProfiledKernel } from "../../bench/figure.ts";
import { configuration, type Dataset, type Panel, type Point, tokensOf } from "./dataset.ts";
import { draw, type Drawing, plain, Plot } from "./plot.ts";

/** A point whose kernels were measured. */
export type ProfiledPoint = Point & { readonly profile: NonNullable<Point["profile"]> };

/** Returns the points whose kernels were measured. */
export function profiledPoints(points: readonly Point[]): ProfiledPoint[] {
  return points.filter((point): point is ProfiledPoint => (point.profile?.length ?? 0) > 0);
}

/** Returns the profiled point with the most tokens. */
export function largestProfiled(points: readonly Point[]): ProfiledPoint | undefined {
  return profiledPoints(points).toSorted((a, b) => tokensOf(b) - tokensOf(a))[0];
}

/** What limits one call. */
export interface Limiting {
  readonly kernel: ProfiledKernel;
  /** Its part of the time of all kernels. */
  readonly share: number;
}

/** Returns the kernel that takes the most time. */
export function limitingKernel({ profile }: ProfiledPoint): Limiting | undefined {
  const [kernel] = profile.toSorted((a, b) => b.milliseconds - a.milliseconds);
  const total = profile.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  return kernel && { kernel, share: kernel.milliseconds / total };
}

/** Says how far a time is from its floor. */
export function timesFloor(milliseconds: number, floorMs: number | null): string {
  return floorMs ? `${(milliseconds / floorMs).toFixed(2)} ×` : "-";
}

/** The longest name of a kernel that the chart has room for. */
const longestName = 20;

/** Draws a bar for each kernel, as the first of several panels only. */
export function drawKernels({ points, panels }: Dataset, panel: Panel): Drawing | undefined {
  const point = largestProfiled(points);
  if (!point || panel !== panels[0]) return undefined;
  const bars = point.profile.map(({ kernel, milliseconds, floorMs }, i) => {
    const short = kernel.length > longestName ? `${kernel.slice(0, longestName - 1)}…` : kernel;
    const floor = floorMs === null ? "" : `, floor ${digits(floorMs)} ms`;
    return {
      kernel: `${i + 1}. ${short}`,
      milliseconds,
      floorMs,
      title: `${kernel}: ${digits(milliseconds)} ms${floor}`,
    };
  });
  const svg = draw({
    marginLeft: 188,
    x: { label: "Milliseconds", grid: true, tickFormat: plain, ticks: 5 },
    y: { label: null, type: "band", domain: bars.map(({ kernel }) => kernel) },
    marks: [
      Plot.barX(bars, { x: "milliseconds", y: "kernel", fill: "var(--series-1)", title: "title" }),
      Plot.tickX(bars.filter(({ floorMs }) => floorMs !== null), {
        ...{ x: "floorMs", y: "kernel", stroke: "var(--text)", strokeWidth: 2 },
      }),
      Plot.ruleX([0], { stroke: "var(--muted)" }),
    ],
  });
  return {
    svg,
    subject: configuration(point),
    head: ["kernel", "ms", "floor ms", "times its floor"],
    rows: point.profile.map(({ kernel, milliseconds, floorMs }) => [
      ...[kernel, digits(milliseconds), floorMs === null ? "-" : digits(floorMs)],
      timesFloor(milliseconds, floorMs),
    ]),
  };
}
