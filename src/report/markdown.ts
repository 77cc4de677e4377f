// A table in Markdown, its columns as wide as their cells are expected to be, so that it reads well unrendered, too.
import type { BenchRecord } from "../record.ts";
import { type RecordColumn, recordColumns } from "./columns.ts";
import type { Format, Layout } from "./format.ts";

/** What a table says of every configuration, whether it varies or not. */
const always: readonly (keyof BenchRecord)[] = ["backend", "dtype", "batch", "seq", "hidden", "experts", "topK"];

/** The format. */
export function format(layout: Layout): Format {
  const columns = recordColumns({ ...layout, varying: [...always, ...layout.varying] });
  const rule = columns.map((column) =>
    column.align === "left" ? "-".repeat(wide(column)) : `${"-".repeat(wide(column) - 1)}:`
  );
  return {
    head: line(columns, columns.map(({ title }) => title)) + line(columns, rule),
    record: (record) => line(columns, columns.map(({ text }) => escaped(text(record)))),
    tail: "",
  };
}

function line(columns: readonly RecordColumn[], cells: readonly string[]): string {
  const padded = cells.map((cell, i) =>
    columns[i]!.align === "left" ? cell.padEnd(wide(columns[i]!)) : cell.padStart(wide(columns[i]!))
  );
  return `| ${padded.join(" | ")} |\n`;
}

function wide({ title, width }: RecordColumn): number {
  return Math.max(title.length, width);
}

function escaped(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}
