// Opens a shared library from one of several places.

/** Why no library could be opened. */
export interface OpenProblem {
  /**
   * `"permission"`: FFI is not granted for every place, and the library is in none of the others; `"missing"`: it is in no place;
   * `"symbol"`: it does not have a function; `"broken"`: it cannot be loaded.
   */
  readonly kind: "permission" | "missing" | "symbol" | "broken";
  /** The message of Deno or of the loader; empty for a missing library or permission. */
  readonly detail: string;
}

/** An opened library, or the reason why none could be opened. */
export type OpenResult<Symbols> = { readonly path: string; readonly symbols: Symbols } | {
  readonly problem: OpenProblem;
};

/**
 * Opens the first library that exists. It never asks for a permission: a path is tried only if FFI is already granted for it.
 *
 * @param paths The places, the best first. The system's loader searches for a name without a slash.
 * @param symbols The functions.
 */
export function openSharedLibrary<const Interface extends Deno.ForeignLibraryInterface>(
  paths: readonly string[],
  symbols: Interface,
): OpenResult<Deno.DynamicLibrary<Interface>["symbols"]> {
  const permitted = paths.filter((path) => Deno.permissions.querySync({ name: "ffi", path }).state === "granted");
  let reason: string | undefined;
  for (const path of permitted) {
    try {
      return { path, symbols: Deno.dlopen(path, symbols).symbols };
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      if (error.message.startsWith("Failed to register symbol")) {
        return { problem: { kind: "symbol", detail: error.message } };
      }
      // The loader names the file that is missing. If it is not the candidate itself, the candidate exists.
      const isMissing = error.message.endsWith(`: ${path}: cannot open shared object file: No such file or directory`);
      if (!isMissing) reason ??= error.message.replace(/^(Could not open library: )+/, "");
    }
  }
  if (reason !== undefined) return { problem: { kind: "broken", detail: reason } };
  return { problem: { kind: permitted.length < paths.length ? "permission" : "missing", detail: "" } };
}
