import type { Chart } from "./charts.ts";
import type { Panel } from "./dataset.ts";

/** Returns the names and colors of the legend of a chart. A single series needs none. */
export function legendOf({ legend }: Pick<Chart, "legend">, { series }: Panel): Readonly<Record<string, string>> {
  if (legend) return legend;
  return series.length < 2 ? {} : Object.fromEntries(series.map(({ name, color }) => [name, color]));
}
