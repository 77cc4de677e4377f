// One chart as a picture.
import { wrap } from "../wrap.ts";
import { type ChartName, chartOf, datasetOf } from "./charts.ts";
import { arrange, type Panel, type SourcedRecord } from "./dataset.ts";
import { escapeHtml } from "./escape.ts";
import { legendOf } from "./legend.ts";
import { chartHeight, chartWidth } from "./plot.ts";
import { chartStyle, themed } from "./style.ts";

const padding = 12, titleHeight = 34, lineHeight = 20, captionMargin = 8, legendWidth = chartWidth / 2;

/** The number of characters that fit one column of the legend, and a line of the caption. */
const legendCharacters = 28, captionCharacters = 58;

/**
 * Draws a chart with its title, caption and legend as an SVG document. Several panels are stacked.
 *
 * @throws {RangeError} If the records do not have what the chart shows.
 */
export function picture(name: ChartName, records: readonly SourcedRecord[]): string {
  const chart = chartOf(name);
  const dataset = datasetOf(chart, arrange(records));
  const caption = wrap(chart.caption, captionCharacters);
  let height = padding + titleHeight + caption.length * lineHeight + captionMargin;
  const drawn = dataset.panels.flatMap((panel) => {
    const drawing = chart.draw(dataset, panel);
    if (!drawing) return [];
    const header = panelHeader(panel, legendOf(chart, panel), height);
    const top = height + header.height;
    height = top + chartHeight + padding;
    return [header.svg, drawing.svg.replace("<svg ", `<svg x="${padding}" y="${top}" `)];
  });
  if (drawn.length === 0) {
    throw new RangeError(`Cannot draw the chart "${name}": the records do not have what it shows`);
  }
  const width = chartWidth + 2 * padding;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" class="picture" font-family="system-ui, sans-serif" font-size="13" role="img" aria-labelledby="title description">
<title id="title">${escapeHtml(chart.title)}</title>
<desc id="description">${escapeHtml(chart.caption)}</desc>
<style>
${themed(".picture")}${chartStyle}.picture { background: var(--page); }
.picture > text { fill: var(--text); }
</style>
<rect width="100%" height="100%" fill="var(--page)"/>
<text x="${padding}" y="${padding + 16}" font-size="17" font-weight="600">${escapeHtml(chart.title)}</text>
${caption.map(captionLine).join("\n")}
${drawn.join("\n")}
</svg>
`;
}

/** Draws a line of the caption: it says what the lines of the chart are. */
function captionLine(line: string, index: number): string {
  return `<text x="${padding}" y="${padding + titleHeight + 4 + lineHeight * index}">${escapeHtml(line)}</text>`;
}

/** Draws the title and the legend of a panel, in two columns if the names are short. */
function panelHeader(
  { title }: Panel,
  legend: Readonly<Record<string, string>>,
  top: number,
): { readonly svg: string; readonly height: number } {
  const entries = Object.entries(legend);
  const columns = entries.every(([name]) => name.length <= legendCharacters) ? 2 : 1;
  const titleLines = title === "" ? 0 : 1;
  const heading = title === ""
    ? []
    : [`<text x="${padding}" y="${top + 4}" font-weight="600">${escapeHtml(title)}</text>`];
  const items = entries.map(([name, color], i) => {
    const x = padding + legendWidth * (i % columns) + 6;
    const y = top + lineHeight * (titleLines + Math.floor(i / columns));
    return `<circle cx="${x}" cy="${y}" r="5" fill="${color}"/><text x="${x + 12}" y="${y + 4}">${
      escapeHtml(name)
    }</text>`;
  });
  const height = lineHeight * (titleLines + Math.ceil(entries.length / columns));
  return { svg: [...heading, ...items].join("\n"), height };
}
