// One chart as a picture.
import { escapeHtml } from "./escape.ts";
import { type ChartName, charts } from "./charts.ts";
import { arrange, type SourcedRecord } from "./dataset.ts";
import { chartHeight, chartWidth, seriesColor } from "./plot.ts";
import { chartStyle, themed } from "./style.ts";

const padding = 12, titleHeight = 34, legendLine = 20, legendWidth = 0.5 * chartWidth;

/**
 * Draws a chart with its title and legend as an SVG document.
 *
 * @throws {RangeError} If the records do not have what the chart shows.
 */
export function picture(name: ChartName, records: readonly SourcedRecord[]): string {
  const dataset = arrange(records);
  const { title, draw } = charts[name];
  const chart = draw(dataset);
  if (!chart) throw new RangeError(`Cannot draw the chart "${name}": the records do not have what it shows`);
  const { domain, range } = seriesColor(dataset);
  const named = name === "load" || domain.length < 2 ? [] : domain;
  const legend = named.map((series, i) => {
    const x = padding + legendWidth * (i % 2) + 6, y = padding + titleHeight + legendLine * Math.floor(i / 2);
    return `<circle cx="${x}" cy="${y}" r="5" fill="${range[i]}"/><text x="${x + 12}" y="${y + 4}">${
      escapeHtml(series)
    }</text>`;
  });
  const top = padding + titleHeight + legendLine * Math.ceil(named.length / 2);
  const width = chartWidth + 2 * padding, height = top + chartHeight + padding;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" class="picture" font-family="system-ui, sans-serif" font-size="13">
<style>
${themed(".picture")}${chartStyle}.picture { background: var(--page); }
.picture > text { fill: var(--text); }
</style>
<rect width="100%" height="100%" fill="var(--page)"/>
<text x="${padding}" y="${padding + 16}" font-size="17" font-weight="600">${escapeHtml(title)}</text>
${legend.join("\n")}
${chart.replace("<svg ", `<svg x="${padding}" y="${top}" `)}
</svg>
`;
}
