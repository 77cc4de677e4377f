// The page of a benchmark: one file without scripts that loads nothing.
import { escapeHtml } from "./escape.ts";
import type { Column } from "../table.ts";
import { digits, figureColumns, noteColumn, recordColumns, usualKeys } from "../columns.ts";
import { type ChartName, charts, loadColors } from "./charts.ts";
import { arrange, configuration, type Dataset, type Point, type SourcedRecord } from "./dataset.ts";
import { seriesColor } from "./plot.ts";
import { pageStyle } from "./style.ts";

/** The charts of each part of the page. */
const parts: readonly (readonly [heading: string, charts: readonly ChartName[]])[] = [
  ["Time, memory, improvement", ["time", "memory", "improvement"]],
  ["Rates and limits", ["tflops", "tokens", "roofline"]],
  ["Routing", ["load"]],
];

/** Makes the page. */
export function page(records: readonly SourcedRecord[], title = "Mixture-of-Experts benchmark"): string {
  const dataset = arrange(records);
  const fastest = dataset.points.toSorted((a, b) => (b.tflops ?? 0) - (a.tflops ?? 0))[0];
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
  const said = (
    key: keyof SourcedRecord,
  ) => [...new Set(records.map((record) => record[key]).filter((value) => value !== null))];
  const threads = said("threads").map((count) => `${count} threads`);
  const times = records.map(({ time }) => `${time}`).toSorted();
  const day = times.at(-1)?.slice(0, 16).replace("T", " ");
  const text = [...said("device"), ...threads, `yamoe ${said("version").join(", ")}`, `${day} UTC`].join(" · ");
  return `<p class="muted">${escapeHtml(text)}</p>`;
}

/** Returns the most important figures. */
function cards(records: readonly SourcedRecord[], { points }: Dataset, fastest: Point | undefined): string {
  const failed = records.filter(({ status }) => status !== "ok");
  const noted = points.filter(({ hints }) => hints.length > 0);
  const quickest = points.toSorted((a, b) => b.tokensPerSecond! - a.tokensPerSecond!)[0];
  const list = [
    fastest && card("Highest rate", `${digits(fastest.tflops ?? 0)} TFLOP/s`, configuration(fastest)),
    fastest && card("What limits it", ...limit(fastest)),
    quickest?.tokensPerSecond &&
    card("Most tokens", `${digits(quickest.tokensPerSecond)} per second`, configuration(quickest)),
    card(
      "Configurations",
      `${points.length} of ${records.length} ran`,
      noted.length === 0 ? (failed.length === 0 ? "No failures and no hints" : "") : `${noted.length} with a hint`,
    ),
  ];
  return `<div class="cards">\n${list.filter((entry) => entry).join("\n")}\n</div>`;
}

function limit({ percentOfPeak, boundBy, peakTflops, peakGigabytesPerSecond, peakSource }: Point): [string, string] {
  if (percentOfPeak === null) return ["Unknown", "The peaks of the device are unknown"];
  const peak = boundBy === "compute" ? `${digits(peakTflops!)} TFLOP/s` : `${digits(peakGigabytesPerSecond!)} GB/s`;
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

function part(heading: string, names: readonly ChartName[], dataset: Dataset): string {
  const figures = names.flatMap((name) => {
    const { title, caption, draw } = charts[name];
    const svg = draw(dataset);
    return svg
      ? [
        `<figure id="${name}"><h3>${escapeHtml(title)}</h3>\n${svg}\n<figcaption>${
          escapeHtml(caption)
        }</figcaption></figure>`,
      ]
      : [];
  });
  if (figures.length === 0) return "";
  const colors = names[0] === "load" ? loadColors : seriesColors(dataset);
  return `<h2>${escapeHtml(heading)}</h2>\n${legend(colors)}<div class="charts">\n${figures.join("\n")}\n</div>`;
}

function seriesColors(dataset: Dataset): Record<string, string> {
  const { domain, range } = seriesColor(dataset);
  return domain.length < 2 ? {} : Object.fromEntries(domain.map((name, i) => [name, range[i]!]));
}

function legend(colors: Readonly<Record<string, string>>): string {
  const items = Object.entries(colors).map(([name, color]) =>
    `<li><i style="background:${color}"></i>${escapeHtml(name)}</li>`
  );
  return items.length === 0 ? "" : `<ul class="legend">${items.join("")}</ul>\n`;
}

function recordTable(records: readonly SourcedRecord[], fastest: Point | undefined): string {
  const modes = records.some(({ coldTimeMs }) => coldTimeMs !== null);
  const varying = [...usualKeys, "threads"] as const;
  const columns = [...recordColumns({ varying, modes }), noteColumn];
  const several = new Set(records.map(({ source }) => source)).size > 1;
  const all: Column<SourcedRecord>[] = [
    ...(several ? [{ title: "file", text: ({ source }: SourcedRecord) => source, align: "left" as const }] : []),
    ...columns,
  ];
  const identity = figureColumns(varying).length + (several ? 1 : 0);
  const rows = records.map((record) => {
    if (record.status !== "ok") {
      const cells = all.slice(0, identity).map((column) => cell(column, record)).join("");
      return `<tr class="failed">${cells}<td class="left wrap" colspan="${all.length - identity}">${
        escapeHtml(`${record.status}: ${record.reason}`)
      }</td></tr>`;
    }
    const best = record === fastest ? ' class="best"' : "";
    return `<tr${best}>${all.map((column) => cell(column, record)).join("")}</tr>`;
  });
  const head = all.map(({ title, align }) => `<th${align === "left" ? ' class="left"' : ""}>${escapeHtml(title)}</th>`);
  return `<div class="scroll" tabindex="0">\n<table>\n<thead><tr>${head.join("")}</tr></thead>\n<tbody>\n${
    rows.join("\n")
  }\n</tbody>\n</table>\n</div>`;
}

function cell({ text, align }: Column<SourcedRecord>, record: SourcedRecord): string {
  return `<td${align === "left" ? ' class="left"' : ""}>${escapeHtml(text(record))}</td>`;
}

/** The provenance of the runs. Records that agree share a line. */
const provenance: readonly (readonly [title: string, keys: readonly (keyof SourcedRecord)[]])[] = [
  ["File", ["source"]],
  ["Command", ["commandLine"]],
  ["Device", ["device", "deviceUuid"]],
  ["Processor", ["cpu", "cores"]],
  ["System", ["os", "arch"]],
  ["Versions", ["version", "denoVersion", "driver"]],
  ["Commit", ["gitCommit", "gitDirty"]],
  ["Kernels", ["cubin", "cubinSha256"]],
  ["Clocks (MHz)", ["clockMhz", "memoryClockMhz"]],
];

const words: Partial<Record<keyof SourcedRecord, (value: unknown) => string>> = {
  cores: (value) => `${value} cores`,
  version: (value) => `yamoe ${value}`,
  denoVersion: (value) => `Deno ${value}`,
  gitDirty: (value) => value ? "with changes" : "clean",
};

function provenanceTable(records: readonly SourcedRecord[]): string {
  const rows = provenance.flatMap(([title, keys]) => {
    const texts = records.map((record) =>
      keys.filter((key) => record[key] !== null).map((key) => words[key]?.(record[key]) ?? `${record[key]}`).join(", ")
    );
    const different = [...new Set(texts)].filter((text) => text !== "");
    return different.length === 0
      ? []
      : [`<tr><th class="left">${title}</th><td class="left wrap">${different.map(escapeHtml).join("<br>")}</td></tr>`];
  });
  return `<div class="scroll" tabindex="0"><table><tbody>\n${rows.join("\n")}\n</tbody></table></div>`;
}
