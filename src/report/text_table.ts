// A table for people, a line as each record comes; coloured on a terminal.
import { bold, red, yellow } from "@std/fmt/colors";
import { identityColumns, noteColumn, type RecordColumn, recordColumns } from "./columns.ts";
import type { Format, Layout } from "./format.ts";

/** The format. A configuration that failed has its reason in the place of its figures. */
export function format(layout: Layout): Format {
  const varying = ["batch", "seq", ...layout.varying] as const;
  const columns = recordColumns({ ...layout, varying }), identity = identityColumns(varying);
  const paint = (color: (text: string) => string, text: string) => layout.color ? color(text) : text;
  return {
    head: `${paint(bold, line(columns, ({ title }) => title))}\n`,
    record(record) {
      const failed = record.status !== "ok";
      const text = line(failed ? [...identity, noteColumn] : columns, ({ text }) => text(record));
      return `${failed ? paint(red, text) : record.hints.length > 0 ? paint(yellow, text) : text}\n`;
    },
    tail: "",
  };
}

function line(columns: readonly RecordColumn[], cell: (column: RecordColumn) => string): string {
  return columns.map((column) => {
    const wide = Math.max(column.title.length, column.width);
    return column.align === "left" ? cell(column).padEnd(wide) : cell(column).padStart(wide);
  }).join("  ").trimEnd();
}
