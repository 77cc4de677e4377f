// The page of a benchmark: one file without scripts that loads nothing.
import { digits, inWords } from "../columns.ts";
import { cards } from "./cards.ts";
import { type ChartName, chartOf, datasetOf } from "./charts.ts";
import { arrange, configuration, type Dataset, floorOf, machineOf, type SourcedRecord } from "./dataset.ts";
import { escapeHtml } from "./escape.ts";
import { limitingKernel, profiledPoints, timesFloor } from "./kernels.ts";
import { legendOf } from "./legend.ts";
import { pageStyle } from "./style.ts";
import { plainTable, provenanceTable, recordTable } from "./tables.ts";

/** The charts of each part of the page. */
const parts: readonly (readonly [heading: string, charts: readonly ChartName[]])[] = [
  ["Time, memory, improvement", ["time", "memory", "improvement"]],
  ["Rates and limits", ["tflops", "tokens", "roofline"]],
  ["Several GPUs", ["scaling", "efficiency"]],
  ["Kernels and routing", ["kernels", "load"]],
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
${limits(dataset)}
<h2>All configurations</h2>
${recordTable(records, fastest)}
<h2>Provenance</h2>
${provenanceTable(records)}
</main>
</body>
</html>
`;
}

/** Returns the table of what limits each job whose kernels were measured. */
function limits({ points }: Dataset): string {
  const rows = profiledPoints(points).flatMap((point) => {
    const limiting = limitingKernel(point);
    if (!limiting) return [];
    const { kernel: { kernel, milliseconds, floorMs }, share } = limiting;
    return [[
      configuration(point),
      ...[digits(point.kernelTimeMs), timesFloor(point.kernelTimeMs, floorOf(point)), kernel],
      ...[`${(100 * share).toFixed(0)} %`, timesFloor(milliseconds, floorMs)],
    ]];
  });
  const head = ["job", "time ms", "over its floor", "limiting kernel", "share of the time", "over its floor"];
  return rows.length === 0 ? "" : `<h2>What limits each job</h2>
<p class="muted">The limiting kernel is the one that takes the most time. The floor is the time at the peak rates.</p>
${plainTable("What limits each job", head, rows)}`;
}

function subtitle(records: readonly SourcedRecord[]): string {
  const onCpu = records.filter(({ backend }) => backend === "cpu"); // a GPU does not compute with threads
  const distinct = (key: "threads" | "version") =>
    new Set(
      (key === "threads" ? onCpu : records).filter((record) => record[key]).map((record) => inWords(key, record)),
    );
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
      const drawing = chart.draw(dataset, panel);
      if (!drawing) return [];
      const title = several && panel.title && !chart.legend ? `${chart.title}: ${panel.title}` : chart.title;
      const id = i === 0 ? ` id="${name}"` : "";
      const about = drawing.subject === undefined ? chart.caption : `${chart.caption} The job: ${drawing.subject}.`;
      const caption = i === 0 ? `\n<figcaption>${escapeHtml(about)}</figcaption>` : "";
      const legend = legendItems(legendOf(chart, panel));
      const label = escapeHtml(`${title}. ${about}`);
      const image = drawing.svg.replace("<svg ", `<svg role="img" aria-label="${label}" `);
      const data = `\n<details><summary>Data</summary>${plainTable(title, drawing.head, drawing.rows)}</details>`;
      return [`<figure${id}><h3>${escapeHtml(title)}</h3>\n${legend}${image}${caption}${data}</figure>`];
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
