// Files that are complete or absent: they are written under a temporary name and then renamed.
import { fileTarget } from "../file_target.ts";
import { UsageError } from "./usage_error.ts";

/**
 * Checks that a file can be written, without changing it.
 *
 * @throws {UsageError} If it cannot.
 * @throws {Error} If the disk is full.
 */
export function checkWritable(path: string): void {
  try {
    const target = fileTarget(path);
    if (target.exists && !target.isFile) {
      throw new UsageError(`Cannot write ${path}: expected the path of a regular file`);
    }
    if (target.mode !== null && (target.mode & 0o222) === 0) {
      throw new UsageError(`Cannot write ${path}: the file is read-only`); // renaming would replace it
    }
    const temporary = temporaryFor(target.path);
    Deno.writeTextFileSync(temporary, "", { createNew: true });
    Deno.removeSync(temporary);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const isFull = error instanceof Error && "code" in error && error.code === "ENOSPC";
    throw isFull ? new Error(failure(path, error)) : new UsageError(failure(path, error));
  }
}

/**
 * Replaces the content of a file. The file keeps its mode, and a symbolic link stays one.
 *
 * @throws {Error} If the file cannot be written, for example because the disk is full. Then the old content stays.
 */
export function replaceFile(path: string, text: string): void {
  let temporary: string | undefined;
  try {
    const target = fileTarget(path);
    const name = temporary = temporaryFor(target.path);
    {
      using file = Deno.openSync(name, { write: true, createNew: true });
      const bytes = new TextEncoder().encode(text);
      for (let written = 0; written < bytes.length;) written += file.writeSync(bytes.subarray(written));
      file.syncSync();
    }
    if (target.mode !== null) Deno.chmodSync(name, target.mode & 0o7777);
    Deno.renameSync(name, target.path);
  } catch (error) {
    if (temporary !== undefined) {
      try {
        Deno.removeSync(temporary);
      } catch {
        // The file was not created or is renamed already.
      }
    }
    throw new Error(failure(path, error));
  }
}

function temporaryFor(path: string): string {
  return `${path}.${crypto.randomUUID().slice(0, 8)}.tmp`; // short, because names have a maximum length
}

function failure(path: string, error: unknown): string {
  const [line = ""] = (error instanceof Error ? error.message : String(error)).split("\n");
  const reason = line.replace(/: \w+ '.*'$/, ""); // Deno adds the call and the temporary name
  const hint = error instanceof Deno.errors.NotCapable ? "; its folder needs --allow-read and --allow-write" : "";
  return `Cannot write ${path}: ${reason}${hint}`;
}
