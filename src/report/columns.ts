// The columns that tables show of a record, and how they print figures.
import {
  type BenchRecord,
  columnOf,
  configurationKeys,
  type FigureKey,
  figureKeys,
  figures,
} from "../bench/figures.ts";
import { shortHint } from "../bench/hints.ts";
import { printable } from "../text.ts";
import type { Layout } from "./format.ts";
import type { Column } from "./table.ts";

/** A column of a table of records. Its width is known before the records are. */
export interface RecordColumn extends Column<BenchRecord> {
  readonly width: number;
}

/** Formats a number with four significant digits, never with an exponent. */
export function digits(value: number): string {
  if (value === 0) return "0";
  const places = Math.max(0, 3 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(places, 6));
}

/** Formats a figure as its column says. */
export function formatFigure(key: FigureKey, value: unknown): string {
  const { digits: places, unit, none = "-" } = columnOf(key) ?? {};
  if (value === null || value === undefined) return none;
  if (typeof value !== "number") return printable(String(value));
  if (unit === "percent") return `${(100 * value).toFixed(1)} %`;
  const shown = unit === "MiB" ? value / 2 ** 20 : value;
  return places === "significant" ? digits(shown) : places === undefined ? String(shown) : shown.toFixed(places);
}

/** Returns the columns of some figures, in the order of the figures. Each is at least as wide as `widths` says. */
export function figureColumns(keys: readonly FigureKey[], widths: Layout["widths"] = {}): RecordColumn[] {
  return figureKeys.filter((key) => keys.includes(key)).flatMap((key) => {
    const column = columnOf(key);
    const identity = configurationKeys.some((one) => one === key);
    const width = Math.max(column?.width ?? 0, widths[key] ?? 0);
    return column ? [{ ...column, width, identity, text: (record) => formatFigure(key, record[key]) }] : [];
  });
}

/** The figures that describe a configuration in tables where the reader does not know it from the command line. */
export const usualKeys: readonly FigureKey[] = configurationKeys.filter((key) => columnOf(key)?.usual);

/** Why a configuration did not run, or the hints on its time in few words. */
export const noteColumn: RecordColumn = {
  title: "note",
  width: 0,
  align: "left",
  text: ({ status, reason, hints }) =>
    printable(status === "ok" ? hints.map(shortHint).join(", ") : `${status}: ${reason}`),
};

/** Returns the columns of a table of records, without the note. */
export function recordColumns(
  { varying, widths, modes, columns }: Pick<Layout, "varying" | "widths" | "modes" | "columns">,
): RecordColumn[] {
  if (columns) return chosenColumns(columns);
  const results = figureKeys.filter((key) => {
    const column = columnOf(key);
    return column && !column.onRequest && !configurationKeys.some((other) => other === key) &&
      (modes || !column.gpuOnly);
  });
  return figureColumns([...varying, ...results], widths);
}

/**
 * Returns the columns of the figures that a user chose, in that order. A narrow table leaves out the last ones. Texts of any
 * length, such as the command line, are notes.
 */
export function chosenColumns(keys: readonly FigureKey[]): RecordColumn[] {
  return keys.map((key, rank) => {
    const column = columnOf(key) ?? { title: key, width: 8, note: isText(key) };
    return { ...column, rank, text: (record) => formatFigure(key, record[key]) };
  });
}

/** Returns whether a figure is a text or a list, whose length is unknown. */
function isText(key: FigureKey): boolean {
  const { type } = figures[key];
  return !type.has(1) && !type.has(true);
}

/** Describes a figure of a record in words. */
export function inWords(key: FigureKey, record: Partial<Pick<BenchRecord, FigureKey>>): string {
  const value = record[key], words = columnOf(key)?.words;
  return printable(words ? words(value) : `${value ?? `no ${key}`}`);
}

/** Describes the figures that all records share, in a line. */
export function commonLine(common: Layout["common"]): string {
  const keys = figureKeys.filter((key) => key in common && common[key] !== null);
  return keys.map((key) => inWords(key, common)).join(", ");
}
