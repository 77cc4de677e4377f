// The formats by name and by file extension.
import { format as csv } from "./csv.ts";
import type { Format, FormatName, Layout } from "./format.ts";
import { format as json } from "./json.ts";
import { format as jsonl } from "./jsonl.ts";
import { format as markdown } from "./markdown.ts";
import { format as text } from "./text_table.ts";

const formats: Readonly<Record<FormatName, (layout: Layout) => Format>> = { text, markdown, csv, json, jsonl };

const extensions: Readonly<Record<string, FormatName>> = {
  txt: "text",
  md: "markdown",
  markdown: "markdown",
  csv: "csv",
  json: "json",
  jsonl: "jsonl",
  ndjson: "jsonl",
};

/** Makes a format ready. */
export function openFormat(name: FormatName, layout: Layout): Format {
  return formats[name](layout);
}

/** The format that a file's name asks for, if any. */
export function formatOfFile(path: string): FormatName | undefined {
  return extensions[path.split(".").at(-1)!.toLowerCase()];
}
