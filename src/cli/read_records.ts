// Reads the files of records that a command line names.
import type { BenchRecord } from "../bench/figures.ts";
import { parseRecords } from "../report/read.ts";
import { UsageError } from "./usage_error.ts";

/**
 * Reads a file of records.
 *
 * @throws {UsageError} If the file cannot be read or does not contain records.
 */
export async function readRecords(path: string): Promise<BenchRecord[]> {
  try {
    return parseRecords(await Deno.readFile(path), path);
  } catch (error) {
    if (error instanceof SyntaxError) throw new UsageError(error.message);
    if (!(error instanceof Error)) throw error;
    const [line = ""] = error.message.split("\n");
    throw new UsageError(`Cannot read ${path}: ${line.replace(/: \w+ '.*'$/, "")}`); // Deno adds the call and the path
  }
}
