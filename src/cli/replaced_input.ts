// Refuses an output file that would replace a file that is read.
import { UsageError } from "./usage_error.ts";

/**
 * Checks that an output is not also read. Other names of the same file are found too.
 *
 * @throws {UsageError} If one of the sources is the output.
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

/** Describes a file, or returns undefined if it does not exist. A path through a file does not exist either. */
async function statOf(path: string): Promise<Deno.FileInfo | undefined> {
  try {
    return await Deno.stat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) return undefined;
    throw error;
  }
}
