// Finding a BLAS. Nothing is opened before it is asked for, and nothing is ever closed: calling into a closed library ends
// the process, and workers may be in it.
import { BackendUnavailableError } from "../backend/unavailable_error.ts";
import { openBlas } from "../wasm/blas.ts";

/** A library that can be opened. */
export interface FoundBlas {
  readonly path: string;
  /** Name and version, as far as it tells. */
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
 * Where the libraries are, the fastest first. Bare names come before paths: the system's loader knows best. A permission
 * that is scoped to a path covers absolute paths only.
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
 * Finds the library to multiply with.
 *
 * @param choice `"auto"`, `"none"` or a path.
 * @returns The library; nothing for `"none"`, and for `"auto"` where there is none or FFI is not permitted.
 * @throws {BackendUnavailableError} If a path was given and there is no such library, it has no `cblas_sgemm`, or its use
 * is not permitted.
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

/** Asking for a permission that is not there would have Deno ask the user. A bare name needs the permission for all. */
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
