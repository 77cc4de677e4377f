// Reads records from the files that `yamoe bench` writes.
import { type BenchRecord, configurationKeys, type FigureKey, figureKeys, figures } from "../bench/figures.ts";
import { migrated } from "./migrate.ts";

/**
 * Reads records: an array of them, a single one, or one per line.
 *
 * @param bytes The content of the file, in UTF-8 or, with a byte order mark, in UTF-16.
 * @param name The name of the file, for errors.
 * @returns The records. A result that the file does not have is null.
 * @throws {SyntaxError} If the content is not a list of records.
 */
export function parseRecords(bytes: Uint8Array, name: string): BenchRecord[] {
  try {
    const values = parseValues(decode(bytes));
    if (values.length === 0) throw new SyntaxError("it contains no records");
    return values.map((value, i) => {
      const record = migrated(value);
      const fault = faultOf(record);
      if (fault === undefined) return completed(record as Partial<BenchRecord>);
      const which = values.length > 1 ? `record ${i + 1}` : "the record";
      throw new SyntaxError(`it must contain records of yamoe bench, but ${fault.replace("#", which)}`);
    });
  } catch (error) {
    if (error instanceof SyntaxError) throw new SyntaxError(`Cannot read ${name}: ${error.message}`);
    throw error;
  }
}

/** Decodes a text file. Windows PowerShell writes a byte order mark, and UTF-16 by default. */
function decode(bytes: Uint8Array): string {
  const [first, second] = bytes;
  const encoding = first === 0xff && second === 0xfe
    ? "utf-16le"
    : first === 0xfe && second === 0xff
    ? "utf-16be"
    : "utf-8";
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    throw new SyntaxError(`it is not text in ${encoding.toUpperCase()}`);
  }
}

/** Parses one JSON document, or one per line. */
function parseValues(text: string): unknown[] {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  if (lines.length === 0) throw new SyntaxError("it is empty");
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value : [value];
  } catch (error) {
    if (!isObject(lines[0] ?? "")) throw notJson("it", error);
    return lines.map((line, i) => {
      try {
        return JSON.parse(line);
      } catch (error) {
        throw notJson(`line ${i + 1}`, error);
      }
    });
  }
}

function isObject(line: string): boolean {
  try {
    return typeof JSON.parse(line) === "object";
  } catch {
    return false;
  }
}

function notJson(what: string, error: unknown): SyntaxError {
  const reason = error instanceof Error ? error.message : String(error);
  return new SyntaxError(`${what} is not valid JSON and may be cut off: ${reason}`);
}

/** Returns what keeps a value from being a record; "#" is the record's name. */
function faultOf(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return `# is ${JSON.stringify(value)}`;
  const record: Partial<Record<FigureKey, unknown>> = value;
  const required: FigureKey[] = ["status", "hints", "batch", "seq", "hidden"];
  if (record.status === "ok") required.push("kernelTimeMs", "kernelTimesMs");
  for (const key of figureKeys) {
    const given = record[key] ?? null;
    if (given === null ? !required.includes(key) : figures[key].type.has(given)) continue;
    const came = given === null ? "nothing" : JSON.stringify(given).slice(0, 60);
    return `"${key}" of # must be ${figures[key].type.name}, got ${came}`;
  }
  return undefined;
}

/**
 * Fills in what the file does not have: results become null. The figures of the configuration stay absent, since null is a
 * value of some of them.
 */
function completed(record: Partial<BenchRecord>): BenchRecord {
  const keys = figureKeys.filter((key) => Object.hasOwn(record, key) || !configurationKeys.some((one) => one === key));
  return Object.fromEntries(keys.map((key) => [key, record[key] ?? null])) as unknown as BenchRecord;
}
