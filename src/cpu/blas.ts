// Finds a BLAS. A library is opened only on demand and is never closed: a worker may be in a call, and a call into a closed
// library ends the process.
import { BackendUnavailableError } from "../backend/unavailable_error.ts";
import { openBlas } from "../wasm/blas.ts";

/** A library that was opened. */
export interface FoundBlas {
  readonly path: string;
  /** The name and the version, as far as the library reports them. */
  readonly name: string;
}

const linuxNames = ["libopenblas.so.0", "libmkl_rt.so.2", "libblis.so.4", "libopenblas.so", "libblis.so"];
const linuxFolders = [
  ...["x86_64", "aarch64"].map((machine) => `/usr/lib/${machine}-linux-gnu`),
  "/usr/lib64",
  "/usr/lib",
  "/usr/local/lib",
  "/opt/intel/oneapi/mkl/latest/lib",
];

/**
 * The libraries to try, the fastest first. Bare names come before paths, so that the system's loader decides. A permission for
 * one path covers absolute paths only.
 */
const candidates: Readonly<Record<string, readonly string[]>> = {
  linux: [...linuxNames, ...linuxNames.flatMap((name) => linuxFolders.map((folder) => `${folder}/${name}`))],
  darwin: [
    "/System/Library/Frameworks/Accelerate.framework/Accelerate",
    ...["/opt/homebrew", "/usr/local"].map((folder) => `${folder}/opt/openblas/lib/libopenblas.dylib`),
  ],
  windows: ["libopenblas.dll", "mkl_rt.2.dll"],
};

const opened = new Map<string, FoundBlas>();

/**
 * Finds the library that multiplies.
 *
 * @param choice `"auto"`, `"none"` or a path.
 * @returns The library. `undefined` for `"none"`, and for `"auto"` if no library was found or FFI is not permitted.
 * @throws {BackendUnavailableError} If `choice` is a path and the library does not exist, has no `cblas_sgemm`, or must not be
 * used.
 */
export function findBlas(choice: string): FoundBlas | undefined {
  if (choice === "none") return undefined;
  if (choice !== "auto") return open(choice);
  for (const path of candidates[Deno.build.os] ?? []) {
    if (!isPermitted(path)) continue;
    try {
      return open(path);
    } catch (error) {
      if (!(error instanceof BackendUnavailableError)) throw error;
    }
  }
  return undefined;
}

/** Without this check, Deno would ask the user for a missing permission. A bare name needs the permission for all paths. */
function isPermitted(path: string): boolean {
  const isBare = !path.includes("/");
  return Deno.permissions.querySync({ name: "ffi", ...(isBare ? {} : { path }) }).state === "granted";
}

function open(path: string): FoundBlas {
  const known = opened.get(path);
  if (known) return known;
  try {
    const found = { path, name: openBlas(path).name };
    opened.set(path, found);
    return found;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const reason = error instanceof Deno.errors.NotCapable
      ? "opening it needs the permission --allow-ffi"
      : error.message.startsWith("Failed to register symbol")
      ? "it has no cblas_sgemm"
      : error.message;
    throw new BackendUnavailableError(`Cannot use the BLAS library "${path}": ${reason}`);
  }
}
