import { wrap } from "./wrap.ts";

/** A column of a table. */
export interface Column<Row> {
  readonly title: string;
  readonly text: (row: Row) => string;
  /** Text is aligned left, numbers right. The default is right. */
  readonly align?: "left" | "right" | undefined;
  /** A table that is too wide leaves out the columns of the highest rank. Columns without a rank stay. */
  readonly rank?: number | undefined;
  /** Whether the column names what the row is about, such as a size of the job. */
  readonly identity?: boolean | undefined;
  /** Whether text tables print the cell on lines of its own, under the row. */
  readonly note?: boolean | undefined;
}

/** A column with its width. */
export interface Sized {
  readonly title: string;
  readonly width: number;
  readonly align?: "left" | "right" | undefined;
  readonly rank?: number | undefined;
  readonly identity?: boolean | undefined;
}

const gap = "  ";

/**
 * Formats a table as lines of text with aligned columns. A table that is wider than the terminal gets shorter: columns with
 * one value become a heading, then the columns of the highest rank are left out and named below the table. If it is still too
 * wide, the cells that name a row are a line of their own above it.
 *
 * @param columns The columns.
 * @param rows The rows.
 * @param width The width of the terminal.
 */
export function textTable<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  width = Infinity,
): string[] {
  const notes = columns.filter(({ note }) => note);
  const all = columns.filter(({ note }) => !note).map((column) => {
    const cells = rows.map(column.text);
    return { ...column, cells, width: Math.max(column.title.length, ...cells.map((cell) => cell.length)) };
  });
  const constant = tableWidth(all) > width ? constantColumns(all, rows.length, width) : [];
  const { names, kept, omitted } = fitColumns(all.filter((column) => !constant.includes(column)), width);
  return [
    ...nameLines(constant, constant.map(({ cells }) => cells[0] ?? ""), width),
    textLine(kept, kept.map(({ title }) => title)),
    ...rows.flatMap((row, i) => [
      ...nameLines(names, names.map(({ cells }) => cells[i] ?? ""), width),
      textLine(kept, kept.map(({ cells }) => cells[i] ?? "")),
      ...notes.flatMap(({ text }) => noteLines(text(row), width)),
    ]),
    ...(omitted.length > 0 ? wrap(omittedColumns(omitted), width) : []),
  ];
}

/** Returns the columns with one value. Of a single row, those are all columns: then it is as many as do not fit. */
function constantColumns<One extends Sized & { readonly cells: readonly string[] }>(
  columns: readonly One[],
  rows: number,
  width: number,
): One[] {
  if (rows > 1) return columns.filter(({ cells }) => cells.every((cell) => cell === cells[0]));
  const first = columns.findIndex((_, i) => tableWidth(columns.slice(i)) <= width);
  return columns.slice(0, first);
}

/** The columns of a table that fits. */
interface Fitting<One> {
  /** The columns whose cells are a line of their own above the row. */
  readonly names: One[];
  readonly kept: One[];
  readonly omitted: One[];
}

/** Leaves out the columns of the highest rank until the rest fits. If it never does, the names of the rows leave the table. */
export function fitColumns<One extends Sized>(columns: readonly One[], width: number): Fitting<One> {
  const kept = [...columns];
  while (tableWidth(kept) > width) {
    const rank = Math.max(...kept.map(({ rank }) => rank ?? 0));
    if (rank === 0) break;
    kept.splice(kept.findLastIndex((column) => column.rank === rank), 1);
  }
  const names = columns.filter(({ identity }) => identity);
  if (tableWidth(kept) > width && names.length > 0) {
    return { ...fitColumns(columns.filter((column) => !names.includes(column)), width), names };
  }
  return { names: [], kept, omitted: columns.filter((column) => !kept.includes(column)) };
}

/** Formats cells with their titles, for what is above a row or a table that has no room for them. */
export function nameLines(columns: readonly Sized[], cells: readonly string[], width: number): string[] {
  const named = columns.flatMap(({ title }, i) => cells[i] ? [`${title} ${cells[i]}`] : []);
  return named.length === 0 ? [] : wrap(named.join(", "), width);
}

/** Formats one line of a table. */
export function textLine(columns: readonly Sized[], cells: readonly string[]): string {
  return columns.map((column, i) => {
    const cell = cells[i] ?? "", width = Math.max(column.title.length, column.width);
    return column.align === "left" ? cell.padEnd(width) : cell.padStart(width);
  }).join(gap).trimEnd();
}

/** Formats the lines of a note under a row. */
export function noteLines(note: string, width: number): string[] {
  return note === "" ? [] : wrap(note, width, "    ");
}

/** Names the columns that a narrow terminal has no room for. */
export function omittedColumns(omitted: readonly { readonly title: string }[]): string {
  return `Not shown for lack of width: ${omitted.map(({ title }) => title).join(", ")}`;
}

function tableWidth(columns: readonly Sized[]): number {
  const widths = columns.map(({ title, width }) => Math.max(title.length, width));
  return widths.reduce((sum, width) => sum + width, 0) + gap.length * (columns.length - 1);
}
