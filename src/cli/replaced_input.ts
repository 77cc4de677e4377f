// Refuses an output file that would replace a file that is read.
import { UsageError } from "./usage_error.ts";

/**
 * Checks that a file to write is none of the files that are read, under whatever name.
 *
 * @throws {UsageError} If it is one of them.
 */
export async function checkNotRead(output: string, sources: readonly string[]): Promise<void> {
  const own = sources.length > 0 ? await statOf(output) : undefined;
  for (const source of sources) {
    const other = await statOf(source);
    const isSame = own && other && own.ino !== null && own.ino === other.ino && own.dev === other.dev;
    if (isSame || source === output) {
      throw new UsageError(`--output must not be a file that is read, got "${output}"`);
    }
  }
}

/** Describes a file, or returns undefined if it does not exist. */
async function statOf(path: string): Promise<Deno.FileInfo | undefined> {
  try {
    return await Deno.stat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
