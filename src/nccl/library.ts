// Finds and opens NCCL. It is opened on first use and never closed.
import { BackendUnavailableError } from "../backend/unavailable_error.ts";
import { type OpenProblem, openSharedLibrary } from "../shared_library.ts";
import { NcclError } from "./error.ts";
import { symbols } from "./symbols.ts";

type Symbols = Deno.DynamicLibrary<typeof symbols>["symbols"];

/** The functions that return an ncclResult_t. */
export type NcclApi = Exclude<keyof Symbols, "ncclGetLastError" | "copyText">;

const fileName = "libnccl.so.2";
const howToGet = "install it with your distribution's package libnccl2 or with pip install nvidia-nccl-cu13, " +
  "and pass its path with --nccl if it is not found";

/** The length of an ncclUniqueId in bytes. */
export const idBytes = 128;

/**
 * Returns the places of the library, the best first: the system's, then those of Python's packages. Places that need a permission
 * to look at are left out without it.
 */
export function ncclPaths(): readonly string[] {
  if (Deno.build.os !== "linux") return [];
  return [
    fileName,
    `/usr/lib/${Deno.build.arch}-linux-gnu/${fileName}`,
    `/usr/lib64/${fileName}`,
    `/usr/local/lib/${fileName}`,
    ...pythonPrefixes().flatMap(packagePaths),
  ];
}

function pythonPrefixes(): string[] {
  const get = (name: string) => isGranted({ name: "env", variable: name }) ? Deno.env.get(name) : undefined;
  const home = get("HOME");
  const prefixes = [get("VIRTUAL_ENV"), get("CONDA_PREFIX"), home && `${home}/.local`, "/usr/local", "/usr"];
  return prefixes.filter((prefix) => prefix !== undefined);
}

/** Returns the paths of the library in the Python packages below a prefix. */
function packagePaths(prefix: string): string[] {
  const folder = `${prefix}/lib`;
  if (!isGranted({ name: "read", path: folder })) return [];
  try {
    const versions = [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) => /^python3/.test(name));
    return versions.flatMap((version) =>
      ["site-packages", "dist-packages"].map((packages) =>
        `${folder}/${version}/${packages}/nvidia/nccl/lib/${fileName}`
      )
    );
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

function isGranted(descriptor: Deno.PermissionDescriptor): boolean {
  return Deno.permissions.querySync(descriptor).state === "granted";
}

/** An opened NCCL. A failure status becomes an exception. */
export class Nccl {
  /** The path that was opened. */
  readonly path: string;
  /** The version: 10000 · major + 100 · minor + patch. */
  readonly version: number;
  readonly #symbols: Symbols;

  /**
   * Opens the library.
   *
   * @param path The library. Defaults to searching the usual places.
   * @throws {BackendUnavailableError} If the library is missing, cannot be loaded, is not permitted or is too old.
   */
  constructor(path?: string) {
    setVariables();
    const paths = path === undefined ? ncclPaths() : [path];
    const result = openSharedLibrary(paths, symbols);
    if ("problem" in result) throw unavailable(result.problem, paths[0]);
    this.path = result.path;
    this.#symbols = result.symbols;
    const version = new Int32Array(1);
    this.call("ncclGetVersion", version);
    this.version = version[0] ?? 0;
  }

  /**
   * Calls a function.
   *
   * @throws {NcclError} If its status is not ncclSuccess.
   */
  call<Name extends NcclApi>(api: Name, ...args: Parameters<Symbols[Name]>): void {
    const status = (this.#symbols[api] as (...args: unknown[]) => number)(...args);
    if (status !== 0) throw new NcclError(api, status, this.#lastError());
  }

  /** Creates the id with which all ranks of a run find each other. */
  createId(): Uint8Array<ArrayBuffer> {
    const id = new Uint8Array(idBytes);
    this.call("ncclGetUniqueId", id);
    return id;
  }

  #lastError(): string {
    const text = this.#symbols.ncclGetLastError(0n);
    if (text === 0n) return "";
    const buffer = new Uint8Array(1024);
    this.#symbols.copyText(buffer, text, BigInt(buffer.length - 1));
    return new TextDecoder().decode(buffer.subarray(0, buffer.indexOf(0))).trim();
  }
}

/** Sets variables of NCCL, if that is permitted: no multicast over NVLink, and no debug lines between the data on standard output. */
function setVariables(): void {
  const allowed = (variable: string) => isGranted({ name: "env", variable });
  const multicast = "NCCL_NVLS_ENABLE", debugFile = "NCCL_DEBUG_FILE";
  if (allowed(multicast)) Deno.env.set(multicast, "0");
  if (allowed(debugFile) && !Deno.env.get(debugFile)) Deno.env.set(debugFile, "/dev/stderr");
}

function unavailable({ kind, detail }: OpenProblem, path: string | undefined): BackendUnavailableError {
  return new BackendUnavailableError(
    {
      symbol: `Cannot use NCCL: it is too old, NCCL 2.23 or newer is needed (${detail})`,
      broken: `Cannot load NCCL: ${detail}`,
      permission: "Cannot use NCCL: opening it needs the permission --allow-ffi",
      missing: path === undefined
        ? `Cannot find NCCL: it does not exist for ${Deno.build.os}`
        : `Cannot find NCCL: ${path} was not found; ${howToGet}`,
    }[kind],
  );
}
