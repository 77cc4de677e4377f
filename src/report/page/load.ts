// The chart of the tokens per expert.
import { configuration, type Dataset, type Panel, type Point } from "./dataset.ts";
import { draw, type Drawing, plain, Plot } from "./plot.ts";

/** The colors of kept and dropped assignments. */
export const loadColors = { kept: "var(--series-1)", dropped: "var(--series-2)" } as const;

/** The maximum number of labels below the bars, and the possible distances between them. */
const maxTicks = 10, tickSteps = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/** Draws the assignments of each expert in the largest job, as the first of several panels only. */
export function drawLoad({ points, panels }: Dataset, panel: Panel): Drawing | undefined {
  const total = ({ tokensPerExpert }: Point) => tokensPerExpert?.reduce((sum, count) => sum + count, 0) ?? 0;
  const [largest] = points.toSorted((a, b) => total(b) - total(a));
  if (!largest?.tokensPerExpert?.length || panel !== panels[0]) return undefined;
  const { tokensPerExpert, capacity } = largest;
  const keptOf = (count: number) => Math.min(count, capacity ?? Infinity);
  const bars = tokensPerExpert.flatMap((count, expert) => {
    const kept = keptOf(count), dropped = count - kept;
    const title = `Expert ${expert}: ${kept} kept${dropped > 0 ? `, ${dropped} dropped` : ""}`;
    return [{ expert, count: kept, part: "kept", title }, { expert, count: dropped, part: "dropped", title }];
  });
  const mean = total(largest) / tokensPerExpert.length;
  const every = tickSteps.find((step) => tokensPerExpert.length / step <= maxTicks) ?? tokensPerExpert.length;
  const svg = draw({
    x: {
      label: "Expert",
      type: "band",
      ticks: tokensPerExpert.map((_, i) => i).filter((i) => i % every === 0),
      tickFormat: plain,
    },
    y: { label: "Tokens", grid: true, tickFormat: plain },
    color: { domain: Object.keys(loadColors), range: Object.values(loadColors) },
    marks: [
      // Gaps between many narrow bars would flicker.
      Plot.barY(bars, {
        x: "expert",
        y: "count",
        fill: "part",
        title: "title",
        inset: tokensPerExpert.length > 48 ? 0 : 0.5,
      }),
      Plot.ruleY([mean], { stroke: "currentColor", strokeDasharray: "4 3" }),
      Plot.ruleY([0], { stroke: "var(--muted)" }),
    ],
  });
  return {
    svg,
    subject: configuration(largest),
    head: ["Expert", ...Object.keys(loadColors)],
    rows: tokensPerExpert.map((count, expert) => [expert, keptOf(count), count - keptOf(count)].map(String)),
  };
}
