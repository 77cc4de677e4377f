// SQL for SQLite and its relatives: a table, and a row for each record.
import { type FigureKey, figureKeys, figures, schemaVersion } from "../bench/figures.ts";
import type { Format, Layout } from "./format.ts";
import { toJson } from "./json.ts";

/** The name of the table. */
const table = "yamoe_bench";

/** Makes the format. Lists are JSON; the times of the single calls are a column only if the layout asks for samples. */
export function format({ samples, columns }: Layout): Format {
  const keys = columns ?? figureKeys.filter((key) => samples || key !== "kernelTimesMs");
  const names = keys.map((key) => `"${key}"`).join(", ");
  return {
    head: `CREATE TABLE IF NOT EXISTS ${table} (${keys.map((key) => `"${key}" ${typeOf(key)}`).join(", ")});\n`,
    record: (record) =>
      `INSERT INTO ${table} (${names}) VALUES (${keys.map((key) => literal(record[key])).join(", ")});\n`,
    tail: "",
  };
}

function typeOf(key: FigureKey): string {
  const { type } = figures[key];
  return type.has(0.5) || type.has(-0.5) ? "REAL" : type.has(schemaVersion) || type.has(true) ? "INTEGER" : "TEXT";
}

function literal(value: unknown): string {
  if (value === null || value === undefined) return "NULL";
  if (typeof value === "number") return Number.isFinite(value) ? `${value}` : "NULL";
  // SQLite's integers have 64 bits with a sign.
  if (typeof value === "bigint") return value < 1n << 63n ? `${value}` : `'${value}'`;
  if (typeof value === "boolean") return value ? "1" : "0";
  const text = typeof value === "string" ? value : toJson(value);
  return `'${text.replaceAll("'", "''").replaceAll("\0", "")}'`;
}
