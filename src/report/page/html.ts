// The page of a benchmark: one file without scripts that loads nothing.
import { inWords } from "../columns.ts";
import { cards } from "./cards.ts";
import { type ChartName, chartOf, datasetOf } from "./charts.ts";
import { arrange, type Dataset, machineOf, type SourcedRecord } from "./dataset.ts";
import { escapeHtml } from "./escape.ts";
import { legendOf } from "./legend.ts";
import { pageStyle } from "./style.ts";
import { provenanceTable, recordTable } from "./tables.ts";

/** The charts of each part of the page. */
const parts: readonly (readonly [heading: string, charts: readonly ChartName[]])[] = [
  ["Time, memory, improvement", ["time", "memory", "improvement"]],
  ["Rates and limits", ["tflops", "tokens", "roofline"]],
  ["Several GPUs", ["scaling", "efficiency"]],
  ["Kernels", ["kernels"]],
  ["Routing", ["load"]],
];

/** Makes the page. */
export function page(records: readonly SourcedRecord[], title = "Mixture-of-Experts benchmark"): string {
  const dataset = arrange(records);
  const [fastest] = dataset.points.toSorted((a, b) => (b.tflops ?? 0) - (a.tflops ?? 0));
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<link rel="icon" href="data:,">
<style>
${pageStyle}</style>
</head>
<body>
<main>
<h1>${escapeHtml(title)}</h1>
${subtitle(records)}
${cards(records, dataset, fastest)}
${parts.map(([heading, names]) => part(heading, names, dataset)).join("\n")}
<h2>All configurations</h2>
${recordTable(records, fastest)}
<h2>Provenance</h2>
${provenanceTable(records)}
</main>
</body>
</html>
`;
}

function subtitle(records: readonly SourcedRecord[]): string {
  const distinct = (key: "threads" | "version") =>
    new Set(records.filter((record) => record[key]).map((record) => inWords(key, record)));
  const day = records.map(({ time }) => `${time}`).toSorted().at(-1)?.slice(0, 16).replace("T", " ");
  const versions = `yamoe ${[...distinct("version")].join(", ")}`;
  const text = [...new Set(records.map(machineOf)), ...distinct("threads"), versions, `${day} UTC`].join(" · ");
  return `<p class="muted">${escapeHtml(text)}</p>`;
}

function part(heading: string, names: readonly ChartName[], all: Dataset): string {
  const figures = names.flatMap((name) => {
    const chart = chartOf(name);
    const dataset = datasetOf(chart, all);
    const several = dataset.panels.length > 1;
    return dataset.panels.flatMap((panel, i) => {
      const svg = chart.draw(dataset, panel);
      if (!svg) return [];
      const title = several && panel.title && !chart.legend ? `${chart.title}: ${panel.title}` : chart.title;
      const id = i === 0 ? ` id="${name}"` : "";
      const caption = i === 0 ? `\n<figcaption>${escapeHtml(chart.caption)}</figcaption>` : "";
      const legend = legendItems(legendOf(chart, panel));
      const label = escapeHtml(`${title}. ${chart.caption}`);
      const image = svg.replace("<svg ", `<svg role="img" aria-label="${label}" `);
      return [`<figure${id}><h3>${escapeHtml(title)}</h3>\n${legend}${image}${caption}</figure>`];
    });
  });
  return figures.length === 0
    ? ""
    : `<h2>${escapeHtml(heading)}</h2>\n<div class="charts">\n${figures.join("\n")}\n</div>`;
}

function legendItems(colors: Readonly<Record<string, string>>): string {
  const items = Object.entries(colors).map(([name, color]) =>
    `<li><i style="background:${color}"></i>${escapeHtml(name)}</li>`
  );
  return items.length === 0 ? "" : `<ul class="legend">${items.join("")}</ul>\n`;
}
