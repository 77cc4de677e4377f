// The cards at the top of the page: the most important figures.
import { digits } from "../columns.ts";
import { configuration, type Dataset, type Point, type SourcedRecord } from "./dataset.ts";
import { escapeHtml } from "./escape.ts";

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
      ? [card("Most tokens", `${digits(quickest.tokensPerSecond)} per second`, configuration(quickest))]
      : []),
    card("Configurations", `${points.length} of ${records.length} ran`, remarks(records)),
  ];
  return `<div class="cards">\n${list.join("\n")}\n</div>`;
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
