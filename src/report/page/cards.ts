// The cards at the top of the page: the most important figures.
import { digits } from "../columns.ts";
import { identity } from "../../bench/configuration.ts";
import type { ProfiledKernel } from "../../bench/figure.ts";
import { configurationKeys } from "../../bench/figures.ts";
import { configuration, type Dataset, machineOf, type Point, type SourcedRecord, tokensOf } from "./dataset.ts";
import { largestProfiled } from "./kernels.ts";
import { plain } from "./plot.ts";
import { escapeHtml } from "./escape.ts";

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** The maximum number of series that a card names. */
const maxNamed = 3;

/** Returns the cards. */
export function cards(records: readonly SourcedRecord[], { points }: Dataset, fastest: Point | undefined): string {
  const [quickest] = points.toSorted((a, b) => (b.tokensPerSecond ?? 0) - (a.tokensPerSecond ?? 0));
  const list = [
    ...(fastest?.tflops
      ? [
        card("Highest rate", `${digits(fastest.tflops)} TFLOP/s`, configuration(fastest)),
        card("Limited by", ...limit(fastest)),
      ]
      : []),
    ...(quickest?.tokensPerSecond
      ? [card("Most tokens", `${whole.format(quickest.tokensPerSecond)} per second`, configuration(quickest))]
      : []),
    ...limitingKernel(points),
    ...arithmeticFrom(points),
    ...packedGain(points),
    card("Configurations", `${points.length} of ${records.length} ran`, remarks(records)),
  ];
  return `<div class="cards">\n${list.join("\n")}\n</div>`;
}

/** Says which kernel of the largest profiled job takes the most time beyond its floor. */
function limitingKernel(points: readonly Point[]): string[] {
  const point = largestProfiled(points);
  const [kernel] = point?.profile.toSorted((a, b) => lost(b) - lost(a)) ?? [];
  if (!point || !kernel) return [];
  const total = point.profile.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  const share = `${(100 * kernel.milliseconds / total).toFixed(0)} % of the time`;
  const floor = kernel.floorMs ? `, ${digits(kernel.milliseconds / kernel.floorMs)} times its floor` : "";
  return [card("Limiting kernel", kernel.kernel, `${share}${floor}; ${configuration(point)}`)];
}

function lost({ milliseconds, floorMs }: ProfiledKernel): number {
  return milliseconds - (floorMs ?? 0);
}

/** Says from how many tokens on arithmetic limits the job, for the series in which that changes. */
function arithmeticFrom(points: readonly Point[]): string[] {
  const known = points.filter(({ boundBy }) => boundBy !== null).toSorted((a, b) => tokensOf(a) - tokensOf(b));
  const several = new Set(points.map(machineOf)).size > 1;
  const layers = Map.groupBy(known, (point) => {
    const machine = several ? [machineOf(point)] : [];
    return [point.preset, point.formats, ...machine].join(", ");
  });
  const changes = [...layers].flatMap(([name, group]) => {
    const last = group.findLast(({ boundBy }) => boundBy === "memory");
    const first = group.find((point) => tokensOf(point) > (last ? tokensOf(last) : 0));
    if (!last || !first) return [];
    return [{ from: tokensOf(first), text: `${name}: ${plain(tokensOf(first))}, memory at ${plain(tokensOf(last))}` }];
  });
  const sorted = changes.toSorted((a, b) => a.from - b.from);
  const [first] = sorted;
  if (!first) return [];
  const others = sorted.length > maxNamed ? `; and ${sorted.length - maxNamed} more` : "";
  const named = sorted.slice(0, maxNamed).map(({ text }) => text).join("; ");
  return [card("Arithmetic limits from", `${plain(first.from)} tokens`, named + others)];
}

/** Says what packed weights gain at best over the dense ones of the same job. */
function packedGain(points: readonly Point[]): string[] {
  const isDense = ({ formats, dtype }: Point) => formats === dtype;
  const keys = configurationKeys.filter((key) => !["formats", "weights", "engine"].includes(key));
  const dense = new Map(points.filter(isDense).map((point) => [identity(point, keys), point]));
  const gains = points.filter((point) => !isDense(point)).flatMap((point) => {
    const base = dense.get(identity(point, keys));
    return base ? [{ point, base, factor: base.kernelTimeMs / point.kernelTimeMs }] : [];
  });
  const [best] = gains.toSorted((a, b) => b.factor - a.factor);
  if (!best) return [];
  const { point, base, factor } = best;
  return [
    card(
      "Packed weights",
      `${point.formats}: ${digits(factor)} ×`,
      `as fast as ${base.formats}; ${configuration(point)}`,
    ),
  ];
}

function remarks(records: readonly SourcedRecord[]): string {
  const failed = records.filter(({ status }) => status !== "ok").length;
  const noted = records.filter(({ hints }) => hints.length > 0).length;
  if (failed + noted === 0) return "No failures and no hints";
  return [...(failed ? [`${failed} failed`] : []), ...(noted ? [`${noted} with hints`] : [])].join(", ");
}

function limit({ percentOfPeak, boundBy, peakTflops, peakGigabytesPerSecond, peakSource }: Point): [string, string] {
  if (percentOfPeak === null || peakTflops === null || peakGigabytesPerSecond === null) {
    return ["Unknown", "The peaks of the device are unknown"];
  }
  const peak = boundBy === "compute" ? `${digits(peakTflops)} TFLOP/s` : `${digits(peakGigabytesPerSecond)} GB/s`;
  const known = peakSource === "measured" ? "measured on the device" : "from the clocks of the device";
  return [
    boundBy === "compute" ? "Arithmetic" : "Memory bandwidth",
    `${percentOfPeak.toFixed(1)} % of ${peak}, ${known}`,
  ];
}

function card(title: string, figure: string, detail: string): string {
  return `<div class="card"><span class="muted">${escapeHtml(title)}</span><strong>${escapeHtml(figure)}</strong>` +
    `<span class="muted">${escapeHtml(detail)}</span></div>`;
}
