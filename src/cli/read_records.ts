// Files of records that a command line names.
import type { BenchRecord } from "../bench/record.ts";
import { parseRecords } from "../report/read.ts";
import { UsageError } from "./flags.ts";

/**
 * Reads a file of records.
 *
 * @throws {UsageError} If it cannot be read or holds none.
 */
export async function readRecords(path: string): Promise<BenchRecord[]> {
  try {
    return parseRecords(await Deno.readTextFile(path), path);
  } catch (error) {
    if (error instanceof SyntaxError) throw new UsageError(error.message);
    if (!(error instanceof Error)) throw error;
    throw new UsageError(`Cannot read ${path}: ${error.message.split("\n")[0]}`);
  }
}
