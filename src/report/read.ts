// Records read back from the files that `yamoe bench` writes.
import { type BenchRecord, recordKeys } from "../bench/record.ts";

/**
 * Reads records: an array of them, one, or one a line.
 *
 * @param text What the file holds.
 * @param name What to call the file in errors.
 * @throws {SyntaxError} If those are no records.
 */
export function parseRecords(text: string, name: string): BenchRecord[] {
  const records = parseJson(text) ?? text.split("\n").filter((line) => line.trim() !== "").map(parseJson);
  const list: unknown[] = Array.isArray(records) ? records : [records];
  if (list.length > 0 && list.every(isRecord)) return list.map(completed);
  throw new SyntaxError(
    list.length === 0
      ? `Cannot read ${name}: it holds no records`
      : `Cannot read ${name}: it must hold records of yamoe bench as JSON or JSON lines`,
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // JSON lines, or nothing of ours
  }
}

function isRecord(value: unknown): value is Partial<BenchRecord> {
  if (typeof value !== "object" || value === null) return false;
  const { batch, seq, hidden, kernelTimeMs, kernelTimesMs, status = "ok" } = value as Partial<BenchRecord>;
  const sized = [batch, seq, hidden].every(Number.isSafeInteger);
  if (status !== "ok") return sized;
  return sized && isTime(kernelTimeMs) && Array.isArray(kernelTimesMs) && kernelTimesMs.every(isTime);
}

function isTime(value: unknown): boolean {
  return typeof value === "number" && value > 0;
}

/** A record with every key; what its file did not say is null. */
function completed(record: Partial<BenchRecord>): BenchRecord {
  const full = Object.fromEntries(recordKeys.map((key) => [key, record[key] ?? null])) as unknown as BenchRecord;
  return { ...full, status: record.status ?? "ok", hints: record.hints ?? [] };
}
