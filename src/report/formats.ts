// The formats by name and by file extension.
import { format as csv } from "./csv.ts";
import type { Format, FormatName, Layout } from "./format.ts";
import { format as json } from "./json.ts";
import { format as jsonl } from "./jsonl.ts";
import { format as markdown } from "./markdown.ts";
import { format as sql } from "./sql.ts";
import { format as text } from "./text_table.ts";

const formats: Readonly<Record<FormatName, (layout: Layout) => Format>> = {
  ...{ text, markdown, csv, json, jsonl, sql },
};

const extensions: Readonly<Record<string, FormatName>> = {
  txt: "text",
  md: "markdown",
  markdown: "markdown",
  csv: "csv",
  json: "json",
  jsonl: "jsonl",
  ndjson: "jsonl",
  sql: "sql",
};

/** Makes a format. */
export function openFormat(name: FormatName, layout: Layout): Format {
  return formats[name](layout);
}

/** Returns the format that belongs to the extension of a file, or undefined if the extension is unknown. */
export function formatOfFile(path: string): FormatName | undefined {
  const extension = path.slice(path.lastIndexOf(".") + 1).toLowerCase();
  return Object.hasOwn(extensions, extension) ? extensions[extension] : undefined;
}
