// Files that are there whole or not at all: written beside their place, then moved there.
import { UsageError } from "./flags.ts";

/**
 * Checks that a file can be written, without touching it.
 *
 * @throws {UsageError} If it cannot.
 */
export function checkWritable(path: string): void {
  try {
    if (!(Deno.lstatSync(path).isFile || Deno.statSync(path).isFile)) {
      throw new UsageError(`Cannot write ${path}: it is no file`);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw refusal(path, error);
  }
  try {
    const temporary = temporaryFor(path);
    Deno.writeTextFileSync(temporary, "", { createNew: true });
    Deno.removeSync(temporary);
  } catch (error) {
    throw refusal(path, error);
  }
}

/** Puts a text in the place of a file's. */
export function replaceFile(path: string, text: string): void {
  const temporary = temporaryFor(path);
  try {
    using file = Deno.openSync(temporary, { write: true, create: true, truncate: true });
    const bytes = new TextEncoder().encode(text);
    for (let written = 0; written < bytes.length;) written += file.writeSync(bytes.subarray(written));
    file.syncSync();
    Deno.renameSync(temporary, path);
  } catch (error) {
    try {
      Deno.removeSync(temporary);
    } catch {
      // it may not have come to be
    }
    throw refusal(path, error);
  }
}

function temporaryFor(path: string): string {
  return `${path}.${Deno.pid}.tmp`;
}

function refusal(path: string, error: unknown): Error {
  if (error instanceof UsageError || !(error instanceof Error)) return error as Error;
  const hint = error instanceof Deno.errors.NotCapable ? "; its folder needs --allow-read and --allow-write" : "";
  return new UsageError(`Cannot write ${path}: ${error.message.split("\n")[0]}${hint}`);
}
