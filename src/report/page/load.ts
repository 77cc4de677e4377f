// The chart of the tokens per expert.
import type { Dataset, Panel, Point } from "./dataset.ts";
import { draw, plain, Plot } from "./plot.ts";

/** The colors of kept and dropped assignments. */
export const loadColors = { kept: "var(--series-1)", dropped: "var(--series-2)" } as const;

/** Draws the assignments of each expert in the largest job, as the first of several panels only. */
export function drawLoad({ points, panels }: Dataset, panel: Panel): string | undefined {
  const total = ({ tokensPerExpert }: Point) => tokensPerExpert?.reduce((sum, count) => sum + count, 0) ?? 0;
  const [largest] = points.toSorted((a, b) => total(b) - total(a));
  if (!largest?.tokensPerExpert?.length || panel !== panels[0]) return undefined;
  const { tokensPerExpert, capacity } = largest;
  const bars = tokensPerExpert.flatMap((count, expert) => {
    const kept = Math.min(count, capacity ?? Infinity);
    const title = `Expert ${expert}: ${kept} kept${count > kept ? `, ${count - kept} dropped` : ""}`;
    return [{ expert, count: kept, part: "kept", title }, { expert, count: count - kept, part: "dropped", title }];
  });
  const mean = total(largest) / tokensPerExpert.length;
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
