// Comma-separated values, RFC 4180 with plain line ends: every key of a record a column, lists joined by spaces.
import { recordKeys } from "../bench/record.ts";
import type { Format } from "./format.ts";

/** The format. */
export function format(): Format {
  return {
    head: line(recordKeys),
    record: (record) => line(recordKeys.map((key) => record[key])),
    tail: "",
  };
}

function line(cells: readonly unknown[]): string {
  return `${cells.map(cell).join(",")}\n`;
}

function cell(value: unknown): string {
  const text = value === null || value === undefined ? "" : Array.isArray(value) ? value.join(" ") : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
