// A table in Markdown, its columns as wide as their cells are expected to be, so that it reads well unrendered, too.
import type { BenchRecord } from "../bench/record.ts";
import { type RecordColumn, recordColumns } from "./columns.ts";
import type { Format, Layout } from "./format.ts";
import type { Column } from "./table.ts";

/** What a table says of every configuration, whether it varies or not. */
const always: readonly (keyof BenchRecord)[] = ["backend", "dtype", "batch", "seq", "hidden", "experts", "topK"];

/** The format. */
export function format(layout: Layout): Format {
  const columns = recordColumns({ ...layout, varying: [...always, ...layout.varying] });
  return {
    head: line(columns, columns.map(({ title }) => title)) + line(columns, columns.map(rule)),
    record: (record) => line(columns, columns.map(({ text }) => escaped(text(record)))),
    tail: "",
  };
}

/** A table of which all rows are known, as lines. */
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

/** The cell under a title. */
function rule(column: Sized): string {
  return column.align === "left" ? "-".repeat(wide(column)) : `${"-".repeat(wide(column) - 1)}:`;
}

/** What of a column its layout depends on. */
type Sized = Pick<RecordColumn, "title" | "width"> & { readonly align?: "left" | "right" };

function line(columns: readonly Sized[], cells: readonly string[]): string {
  const padded = cells.map((cell, i) =>
    columns[i]!.align === "left" ? cell.padEnd(wide(columns[i]!)) : cell.padStart(wide(columns[i]!))
  );
  return `| ${padded.join(" | ")} |\n`;
}

function wide({ title, width }: Sized): number {
  return Math.max(title.length, width);
}

function escaped(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}
