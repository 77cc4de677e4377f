// Finding and opening the driver's library. Nothing is opened before it is asked for, and nothing is ever closed: calling
// into a closed library ends the process.
import { BackendUnavailableError } from "../../backend/unavailable_error.ts";
import { symbols } from "./symbols.ts";

/** The driver's functions as Deno sees them. */
export type Symbols = Deno.DynamicLibrary<typeof symbols>["symbols"];

/**
 * Where the library is. The bare name comes first: the system's loader knows best, and respects LD_LIBRARY_PATH. A
 * permission that is scoped to a path covers absolute paths only, so those follow.
 */
const candidates: Readonly<Record<string, readonly string[]>> = {
  linux: [
    "libcuda.so.1",
    ...["x86_64-linux-gnu", "aarch64-linux-gnu"].map((triplet) => `/usr/lib/${triplet}/libcuda.so.1`),
    "/usr/lib64/libcuda.so.1",
    "/usr/lib/wsl/lib/libcuda.so.1",
    "/usr/local/nvidia/lib64/libcuda.so.1",
  ],
  windows: ["nvcuda.dll"],
};

const opened = new Map<string, Symbols>();

/**
 * Opens the driver's library.
 *
 * @param path The library to open. Without one, the system's places are searched.
 * @throws {BackendUnavailableError} If there is none, its use is not permitted, or it lacks functions.
 */
export function openLibrary(path?: string): Symbols {
  const paths = path === undefined ? candidates[Deno.build.os] ?? [] : [path];
  const known = opened.get(path ?? "");
  if (known) return known;
  let denied = false;
  for (const candidate of paths) {
    try {
      const library = Deno.dlopen(candidate, symbols).symbols;
      opened.set(path ?? "", library);
      return library;
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) denied = true;
      else if (error instanceof Error && error.message.startsWith("Failed to register symbol")) {
        throw new BackendUnavailableError(
          `Cannot use the NVIDIA driver: it is too old, CUDA 13.0 (driver 580) is needed (${error.message})`,
        );
      }
    }
  }
  throw new BackendUnavailableError(
    denied
      ? "Cannot use the NVIDIA driver: opening it needs the permission --allow-ffi"
      : paths.length === 0
      ? `Cannot find the NVIDIA driver: there is none for ${Deno.build.os}`
      : `Cannot find the NVIDIA driver: there is no ${paths[0]}`,
  );
}
