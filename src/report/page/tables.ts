// The tables of the page.
import { distinguishingKeys } from "../../bench/configuration.ts";
import { type FigureKey, figureKeys } from "../../bench/figures.ts";
import { plural, printable } from "../../text.ts";
import { figureColumns, inWords, noteColumn, recordColumns, usualKeys } from "../columns.ts";
import type { Column } from "../table.ts";
import { machineOf, type Point, type SourcedRecord } from "./dataset.ts";
import { escapeHtml } from "./escape.ts";

/**
 * Returns the table of all records. Figures of the configuration that all have are in the line above it. Hints and the
 * reasons of failures are whole, under their row.
 */
export function recordTable(records: readonly SourcedRecord[], fastest: Point | undefined): string {
  const keys: FigureKey[] = figureKeys.filter((key) => usualKeys.includes(key) || ["threads", "engine"].includes(key));
  const varying = keys.filter((key) => distinguishingKeys(records, keys).includes(key));
  const [first] = records;
  const common = keys.filter((key) =>
    records.length > 1 && new Set(records.map((record) => record[key] ?? null)).size === 1
  );
  const shown = records.length > 1 ? varying : keys; // what follows from the preset is left out
  const modes = records.some(({ coldTimeMs }) => (coldTimeMs ?? null) !== null);
  const several = new Set(records.map(({ source }) => source)).size > 1;
  const machines = new Set(records.map(machineOf)).size > 1;
  const source: Column<SourcedRecord>[] = [
    ...(machines ? [{ title: "machine", text: machineOf, align: "left" } as const] : []),
    ...(several
      ? [{ title: "file", text: ({ source }: SourcedRecord) => printable(source), align: "left" } as const]
      : []),
  ];
  const identity = [...source, ...figureColumns(shown)];
  const columns: Column<SourcedRecord>[] = [...source, ...recordColumns({ varying: shown, modes })];
  const rows = records.map((record) => {
    if (record.status !== "ok") {
      const cells = identity.map((column) => cell(column, record)).join("");
      const rest = `<td class="left" colspan="${columns.length - identity.length}"></td>`;
      return `<tr class="failed">${cells}${rest}</tr>\n${noteRow([noteColumn.text(record)], columns.length, "failed")}`;
    }
    const best = record === fastest ? ' class="best"' : "";
    const row = `<tr${best}>${columns.map((column) => cell(column, record)).join("")}</tr>`;
    return record.hints.length > 0 ? `${row}\n${noteRow(record.hints, columns.length, "hint")}` : row;
  });
  const head = columns.map(({ title, align }) =>
    `<th scope="col"${align === "left" ? ' class="left"' : ""}>${escapeHtml(title)}</th>`
  );
  const line = first && common.length > 0
    ? `<p class="muted">In all: ${escapeHtml(common.map((key) => inWords(key, first)).join(", "))}</p>\n`
    : "";
  return `${line}${scroll("All configurations")}\n<table>\n<thead><tr>${head.join("")}</tr></thead>\n<tbody>\n${
    rows.join("\n")
  }\n</tbody>\n</table>\n</div>`;
}

function cell({ text, align }: Column<SourcedRecord>, record: SourcedRecord): string {
  return `<td${align === "left" ? ' class="left"' : ""}>${escapeHtml(text(record))}</td>`;
}

/** Returns the start of a box whose content can be wider than the page. It can be scrolled with the keyboard. */
function scroll(name: string): string {
  return `<div class="scroll" tabindex="0" role="region" aria-label="${escapeHtml(name)}">`;
}

/** Returns a table of texts. Columns of numbers are aligned right. */
export function plainTable(
  name: string,
  head: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const isText = head.map((_, i) => rows.some((row) => /^[^\d-]/.test(row[i] ?? "")));
  const cells = (tag: string, texts: readonly string[]) =>
    texts.map((text, i) => `<${tag}${isText[i] ? ' class="left"' : ""}>${escapeHtml(text)}</${tag.slice(0, 2)}>`).join(
      "",
    );
  return `${scroll(name)}<table><thead><tr>${cells('th scope="col"', head)}</tr></thead>\n<tbody>${
    rows.map((row) => `<tr>${cells("td", row)}</tr>`).join("\n")
  }</tbody></table></div>`;
}

/** Returns a row of notes that stays visible when the table is scrolled. */
function noteRow(notes: readonly string[], columns: number, kind: "hint" | "failed"): string {
  const lines = notes.map((note) => `<div>${escapeHtml(printable(note))}</div>`).join("");
  return `<tr class="note ${kind}"><td class="left" colspan="${columns}"><div class="sticky">${lines}</div></td></tr>`;
}

/** The provenance of the runs. Records that agree share a line. */
const provenance: readonly (readonly [title: string, keys: readonly (keyof SourcedRecord)[]])[] = [
  ["File", ["source"]],
  ["Command", ["commandLine"]],
  ["Host", ["host"]],
  ["Device", ["device", "deviceUuid"]],
  ["Processor", ["cpu", "cores"]],
  ["System", ["os", "arch"]],
  ["Versions", ["version", "denoVersion", "driver"]],
  ["Commit", ["gitCommit", "gitDirty"]],
  ["Kernels", ["cubin", "cubinSha256"]],
  ["Clocks (MHz)", ["clockMhz", "memoryClockMhz"]],
];

const words: Partial<Record<keyof SourcedRecord, (value: unknown) => string>> = {
  cores: (value) => plural(Number(value), "core"),
  version: (value) => `yamoe ${value}`,
  denoVersion: (value) => `Deno ${value}`,
  gitDirty: (value) => value ? "with changes" : "clean",
};

/** Returns the table of the provenance. */
export function provenanceTable(records: readonly SourcedRecord[]): string {
  const rows = provenance.flatMap(([title, keys]) => {
    const texts = records.map((record) =>
      keys.filter((key) => (record[key] ?? null) !== null)
        .map((key) => printable(words[key]?.(record[key]) ?? `${record[key]}`)).join(", ")
    );
    const different = [...new Set(texts)].filter((text) => text !== "");
    return different.length === 0 ? [] : [
      `<tr><th scope="row" class="left">${title}</th><td class="left wrap">${
        different.map(escapeHtml).join("<br>")
      }</td></tr>`,
    ];
  });
  return `${scroll("Provenance")}<table><tbody>\n${rows.join("\n")}\n</tbody></table></div>`;
}
