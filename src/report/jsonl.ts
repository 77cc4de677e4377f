// JSON lines: one object per record.
import type { Format } from "./format.ts";
import { toJson } from "./json.ts";

/** Makes the format. */
export function format(): Format {
  return { head: "", record: (record) => `${toJson(record)}\n`, tail: "" };
}
