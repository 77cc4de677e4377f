// Tables in Markdown. The columns are padded, so that the tables are readable as plain text, too.
import { noteColumn, recordColumns, usualKeys } from "./columns.ts";
import type { Format, Layout } from "./format.ts";
import type { Column, Sized } from "./table.ts";

/** Makes the format. */
export function format(layout: Layout): Format {
  const columns = [...recordColumns({ ...layout, varying: [...usualKeys, ...layout.varying] }), noteColumn];
  return {
    head: line(columns, columns.map(({ title }) => title)) + line(columns, columns.map(rule)),
    record: (record) => line(columns, columns.map(({ text }) => escaped(text(record)))),
    tail: "",
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
