// Tables in Markdown. The columns are padded, so that the tables are readable as plain text, too.
import type { FigureKey } from "../bench/figures.ts";
import { digits, figureColumns, noteColumn, type RecordColumn, recordColumns } from "./columns.ts";
import type { Format, Layout } from "./format.ts";
import type { Column, Sized } from "./table.ts";

/** What llama-bench shows of every row: the model, the sizes, where it ran. */
const described: readonly FigureKey[] = ["model", "op", "formats", "batch", "seq", "backend", "threads"];

/** The results that belong into an issue. */
const results: readonly FigureKey[] = ["tflops", "gigabytesPerSecond", "percentOfPeak", "tokensPerSecond"];

/** The median and its noise in one cell, as llama-bench writes them. */
const timeColumn: RecordColumn = {
  title: "time ms",
  width: 16,
  text: ({ kernelTimeMs, noise }) =>
    kernelTimeMs === null ? "-" : `${digits(kernelTimeMs)} ± ${noise === null ? "?" : (100 * noise).toFixed(1)} %`,
};

/** Makes the format. The last line says which version was measured. */
export function format(layout: Layout): Format {
  const columns = layout.columns
    ? recordColumns(layout)
    : [...figureColumns([...described, ...layout.varying]), timeColumn, ...figureColumns(results), noteColumn];
  return {
    head: line(columns, columns.map(({ title }) => title)) + line(columns, columns.map(rule)),
    record: (record) => line(columns, columns.map(({ text }) => escaped(text(record)))),
    tail: `\nbuild: ${layout.build}\n`,
  };
}

/** Formats a table whose rows are all known, as lines. */
export function markdownTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string[] {
  const sized = columns.map((column) => ({
    ...column,
    width: Math.max(3, ...rows.map((row) => escaped(column.text(row)).length)),
  }));
  const cells = (cell: (column: typeof sized[number]) => string) => line(sized, sized.map(cell)).trimEnd();
  return [
    cells(({ title }) => title),
    cells(rule),
    ...rows.map((row) => cells(({ text }) => escaped(text(row)))),
  ];
}

/** Returns the cell between a title and the first row. */
function rule(column: Sized): string {
  return column.align === "left" ? "-".repeat(fullWidth(column)) : `${"-".repeat(fullWidth(column) - 1)}:`;
}

function line(columns: readonly Sized[], cells: readonly string[]): string {
  const padded = columns.map((column, i) => {
    const cell = cells[i] ?? "";
    return column.align === "left" ? cell.padEnd(fullWidth(column)) : cell.padStart(fullWidth(column));
  });
  return `| ${padded.join(" | ")} |\n`;
}

function fullWidth({ title, width }: Sized): number {
  return Math.max(title.length, width);
}

function escaped(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}
