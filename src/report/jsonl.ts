// A record a line, each a JSON object.
import type { Format } from "./format.ts";
import { toJson } from "./json.ts";

/** The format. */
export function format(): Format {
  return { head: "", record: (record) => `${toJson(record)}\n`, tail: "" };
}
