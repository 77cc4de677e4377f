// The cards at the top of the page: the most important figures.
import { digits } from "../columns.ts";
import { identity } from "../../bench/configuration.ts";
import { configurationKeys } from "../../bench/figures.ts";
import {
  configuration,
  type Dataset,
  floorOf,
  type Point,
  type SourcedRecord,
  storageKeys,
  tokensOf,
} from "./dataset.ts";
import { largestProfiled, limitingKernel, timesFloor } from "./kernels.ts";
import { plain } from "./plot.ts";
import { escapeHtml } from "./escape.ts";

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** The maximum number of series that a card names. */
const maxNamed = 3;

/** Returns the cards. */
export function cards(records: readonly SourcedRecord[], { points }: Dataset, fastest: Point | undefined): string {
  const [quickest] = points.toSorted((a, b) => (b.tokensPerSecond ?? 0) - (a.tokensPerSecond ?? 0));
  const list = [
    ...kernelCard(points),
    ...floorCard(points),
    ...packedGain(points),
    ...arithmeticFrom(points),
    ...(fastest?.tflops
      ? [card("Highest rate", `${digits(fastest.tflops)} TFLOP/s`, `${configuration(fastest)}; ${limit(fastest)}`)]
      : []),
    ...(quickest?.tokensPerSecond
      ? [card("Most tokens", `${whole.format(quickest.tokensPerSecond)} per second`, configuration(quickest))]
      : []),
    card("Configurations", `${points.length} of ${records.length} ran`, remarks(records)),
  ];
  return `<div class="cards">\n${list.join("\n")}\n</div>`;
}

/** Says which kernel of the largest profiled job takes the most time. */
function kernelCard(points: readonly Point[]): string[] {
  const point = largestProfiled(points), limiting = point && limitingKernel(point);
  if (!limiting) return [];
  const { kernel: { kernel, milliseconds, floorMs }, share } = limiting;
  const floor = floorMs === null ? "" : `, ${timesFloor(milliseconds, floorMs)} its floor`;
  return [
    card("Limiting kernel", kernel, `${(100 * share).toFixed(0)} % of the time${floor}; ${configuration(point)}`),
  ];
}

/** Says how far the times are from their floors. */
function floorCard(points: readonly Point[]): string[] {
  const sorted = points.toSorted((a, b) => (b.percentOfPeak ?? 0) - (a.percentOfPeak ?? 0))
    .filter(({ percentOfPeak }) => percentOfPeak !== null);
  const [nearest] = sorted, farthest = sorted.at(-1);
  if (!nearest || !farthest) return [];
  const times = (point: Point) => timesFloor(point.kernelTimeMs, floorOf(point));
  const range = [...new Set([times(nearest), times(farthest)])].join(" to ");
  return [
    card(
      "Time over its floor",
      range,
      nearest === farthest
        ? configuration(nearest)
        : `Nearest: ${configuration(nearest)}. Farthest: ${configuration(farthest)}`,
    ),
  ];
}

/** Says from how many tokens on arithmetic limits the job, for the series in which that changes. */
function arithmeticFrom(points: readonly Point[]): string[] {
  const keys = configurationKeys.filter((key) => !["batch", "seq", "capacity"].includes(key));
  const layers = Map.groupBy(points, (point) => identity(point, keys));
  const changes = [...layers.values()].flatMap((group) => {
    const [point] = group, tokens = crossing(group);
    return !point || tokens === undefined ? [] : [{ tokens, text: `${configuration(point, "")}: ${plain(tokens)}` }];
  });
  const sorted = changes.toSorted((a, b) => a.tokens - b.tokens);
  const [first] = sorted;
  if (!first) return [];
  const others = sorted.length > maxNamed ? `; and ${sorted.length - maxNamed} more` : "";
  const named = sorted.slice(0, maxNamed).map(({ text }) => text).join("; ");
  return [card("Arithmetic limits from", `about ${plain(first.tokens)} tokens`, named + others)];
}

/**
 * Returns from how many tokens on the floor is that of the arithmetic: where the line between two runs reaches the intensity at
 * which both floors are equal. Two digits are as many as that knows.
 */
function crossing(points: readonly Point[]): number | undefined {
  const known = points.flatMap((point) => {
    const { intensity, peakTflops, peakGigabytesPerSecond } = point;
    if (!intensity || !peakTflops || !peakGigabytesPerSecond) return [];
    const overRidge = Math.log(intensity * peakGigabytesPerSecond / peakTflops / 1000);
    return [{ tokens: Math.log(tokensOf(point)), overRidge }];
  }).toSorted((a, b) => a.tokens - b.tokens);
  const next = known.findIndex(({ overRidge }) => overRidge >= 0);
  const after = known[next], before = known[next - 1];
  if (!after || !before) return undefined;
  const part = -before.overRidge / (after.overRidge - before.overRidge);
  return Number(Math.exp(before.tokens + part * (after.tokens - before.tokens)).toPrecision(2));
}

/** Says what packed weights gain over the dense ones of the same job, at best and at worst. */
function packedGain(points: readonly Point[]): string[] {
  const isDense = ({ formats, dtype }: Point) => formats === dtype;
  const keys = configurationKeys.filter((key) => key !== "engine" && !storageKeys.includes(key));
  const dense = new Map(points.filter(isDense).map((point) => [identity(point, keys), point]));
  const gains = points.filter((point) => !isDense(point)).flatMap((point) => {
    const base = dense.get(identity(point, keys));
    return base ? [{ point, base, factor: base.kernelTimeMs / point.kernelTimeMs }] : [];
  }).toSorted((a, b) => b.factor - a.factor);
  const [best] = gains, worst = gains.at(-1);
  if (!best || !worst) return [];
  const { point, base, factor } = best;
  const least = worst === best ? "" : `; at least ${worst.factor.toFixed(2)} ×: ${configuration(worst.point)}`;
  return [
    card(
      "Packed weights",
      `${factor.toFixed(2)} × as fast`,
      `${point.formats} against ${base.formats} at best: ${configuration(point)}${least}`,
    ),
  ];
}

function remarks(records: readonly SourcedRecord[]): string {
  const failed = records.filter(({ status }) => status !== "ok").length;
  const noted = records.filter(({ hints }) => hints.length > 0).length;
  if (failed + noted === 0) return "No failures and no hints";
  return [...(failed ? [`${failed} failed`] : []), ...(noted ? [`${noted} with hints`] : [])].join(", ");
}

/** Says which peak limits a run, and how near the run is to it. */
function limit({ percentOfPeak, boundBy, peakTflops, peakGigabytesPerSecond, peakSource }: Point): string {
  if (percentOfPeak === null || peakTflops === null || peakGigabytesPerSecond === null) {
    return "the peaks of the device are unknown";
  }
  const peak = boundBy === "compute" ? `${digits(peakTflops)} TFLOP/s` : `${digits(peakGigabytesPerSecond)} GB/s`;
  const known = peakSource === "measured" ? "measured on the device" : "from the clocks of the device";
  const name = boundBy === "compute" ? "arithmetic" : "memory bandwidth";
  return `limited by ${name}, ${percentOfPeak.toFixed(1)} % of ${peak}, ${known}`;
}

function card(title: string, figure: string, detail: string): string {
  // A long name of a kernel breaks after an underscore.
  const breakable = escapeHtml(figure).replaceAll("_", "_<wbr>");
  return `<div class="card"><h3>${escapeHtml(title)}</h3><strong>${breakable}</strong>` +
    `<span class="muted">${escapeHtml(detail)}</span></div>`;
}
