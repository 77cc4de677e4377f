// Comma-separated values, RFC 4180 with line feeds: a column per figure, lists joined by spaces.
import { figureKeys } from "../bench/figures.ts";
import type { Format, Layout } from "./format.ts";
import { toJson } from "./json.ts";

/** Makes the format. The times of the single calls are a column only if the layout asks for samples. */
export function format({ samples, columns }: Layout): Format {
  const keys = columns ?? figureKeys.filter((key) => samples || key !== "kernelTimesMs");
  return {
    head: line(keys),
    record: (record) => line(keys.map((key) => record[key])),
    tail: "",
  };
}

function line(cells: readonly unknown[]): string {
  return `${cells.map(cell).join(",")}\n`;
}

function cell(value: unknown): string {
  const text = value === null || value === undefined
    ? ""
    : Array.isArray(value)
    ? value.map((item) => typeof item === "object" ? toJson(item) : item).join(" ")
    : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
