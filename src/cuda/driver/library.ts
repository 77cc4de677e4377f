// Finds and opens the driver's library. It is opened on first use and never closed, because a call into a closed library ends the
// process.
import { BackendUnavailableError } from "../../backend/unavailable_error.ts";
import { openSharedLibrary } from "../../shared_library.ts";
import { symbols } from "./symbols.ts";

/** The driver's functions as Deno represents them. */
export type Symbols = Deno.DynamicLibrary<typeof symbols>["symbols"];

/**
 * Returns the usual places of the library. The bare name comes first: the system's loader finds it, and respects
 * LD_LIBRARY_PATH. Absolute paths follow, because only they can be given a permission of their own.
 */
export function driverPaths(): readonly string[] {
  if (Deno.build.os === "windows") return ["nvcuda.dll"];
  if (Deno.build.os !== "linux") return [];
  return [
    "libcuda.so.1",
    `/usr/lib/${Deno.build.arch}-linux-gnu/libcuda.so.1`,
    "/usr/lib64/libcuda.so.1",
    "/usr/lib/wsl/lib/libcuda.so.1",
    "/usr/local/nvidia/lib64/libcuda.so.1",
    "/run/opengl-driver/lib/libcuda.so.1", // NixOS
  ];
}

const opened = new Map<string, Symbols>();

/**
 * Opens the driver's library. It never asks for a permission: a path is tried only if FFI is already granted for it.
 *
 * @param path The library to open. Defaults to searching the usual places.
 * @throws {BackendUnavailableError} If the library is missing, cannot be loaded, is not permitted or is too old.
 */
export function openLibrary(path?: string): Symbols {
  const known = opened.get(path ?? "");
  if (known) return known;
  const paths = path === undefined ? driverPaths() : [path];
  const result = openSharedLibrary(paths, symbols);
  if ("symbols" in result) {
    opened.set(path ?? "", result.symbols);
    return result.symbols;
  }
  const { kind, detail } = result.problem;
  throw new BackendUnavailableError(
    {
      symbol: `Cannot use the NVIDIA driver: it is too old, CUDA 13.0 (driver 580) is needed (${detail})`,
      broken: `Cannot load the NVIDIA driver: ${detail}`,
      permission: "Cannot use the NVIDIA driver: opening it needs the permission --allow-ffi",
      missing: paths.length === 0
        ? `Cannot find the NVIDIA driver: it does not exist for ${Deno.build.os}`
        : `Cannot find the NVIDIA driver: ${paths[0]} was not found`,
    }[kind],
  );
}
