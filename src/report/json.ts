/** A record as one line of JSON. Numbers are numbers: a bigint keeps all its digits. */
export function toJson(record: unknown): string {
  return JSON.stringify(record, (_key, value) => typeof value === "bigint" ? rawJson(value) : value);
}

/** `JSON.rawJSON` is newer than the type library. */
const { rawJSON: rawJson } = JSON as unknown as { rawJSON(value: bigint): unknown };
