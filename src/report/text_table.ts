// A table that is printed line by line as the records come, with colors on a terminal.
import { bold, red, yellow } from "@std/fmt/colors";
import { commonLine, figureColumns, noteColumn, type RecordColumn, recordColumns } from "./columns.ts";
import type { Format, Layout } from "./format.ts";
import { wrap } from "./wrap.ts";
import { fitColumns, nameLines, noteLines, omittedColumns, textLine } from "./table.ts";

/** Makes the format. The reason of a failure and the hints are printed under the row. */
export function format(layout: Layout): Format {
  const columns = recordColumns(layout), notes = columns.filter(({ note }) => note);
  const { names, kept, omitted } = fitColumns(columns.filter(({ note }) => !note), layout.width);
  const configuration = figureColumns(layout.varying, layout.widths);
  const common = commonLine(layout.common);
  const paint = (color: (text: string) => string, lines: readonly string[]) =>
    `${lines.map((line) => layout.color ? color(line) : line).join("\n")}\n`;
  return {
    head: (common === "" ? "" : `${wrap(common, layout.width).join("\n")}\n`) +
      paint(bold, [textLine(kept, kept.map(({ title }) => title))]),
    record(record) {
      const ran = record.status === "ok";
      const cells = (columns: readonly RecordColumn[]) => columns.map(({ text }) => text(record));
      const row = names.length > 0
        ? [...nameLines(names, cells(names), layout.width), ...ran ? [textLine(kept, cells(kept))] : []]
        : [ran ? textLine(kept, cells(kept)) : textLine(configuration, cells(configuration))];
      const texts = [...notes.map(({ title, text }) => `${title}: ${text(record)}`), noteColumn.text(record)];
      const lines = [...row, ...texts.flatMap((text) => noteLines(text, layout.width))];
      return paint(ran ? (record.hints.length > 0 ? yellow : String) : red, lines);
    },
    tail: omitted.length > 0
      ? `${wrap(`${omittedColumns(omitted)} (--format csv has them)`, layout.width).join("\n")}\n`
      : "",
  };
}
