// JSON: an array of records, each on a line of its own.
import type { Format } from "./format.ts";

/** Formats a value as one line of JSON. Numbers stay numbers: a bigint keeps all its digits. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, member) => typeof member === "bigint" ? rawJson(member) : member);
}

/** `JSON.rawJSON` is newer than the type library. */
const { rawJSON: rawJson } = JSON as unknown as { rawJSON(value: bigint): unknown };

/** Makes the format. */
export function format(): Format {
  return { head: "[", record: (record, index) => `${index === 0 ? "" : ","}\n${toJson(record)}`, tail: "\n]\n" };
}
