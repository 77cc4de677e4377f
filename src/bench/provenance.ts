/**
 * Provenance: the host, the software and the command line of a run, which are needed to repeat it.
 *
 * @module
 */
import { cpuName } from "../cpu/device.ts";
import { version } from "../version.ts";

/** The host, its software and the command line. A member is null if the permission to read it was not granted. */
export interface Provenance {
  /** The version of this package. */
  readonly version: string;
  readonly denoVersion: string;
  /** The name of the host. */
  readonly host: string | null;
  readonly os: string;
  readonly arch: string;
  readonly cpu: string;
  /** Logical cores. */
  readonly cores: number;
  readonly memoryBytes: number | null;
  /** The commit of this package; null outside a checkout, or without the permission to run git. */
  readonly gitCommit: string | null;
  /** Whether the checkout has uncommitted changes. */
  readonly gitDirty: boolean | null;
  readonly commandLine: string;
}

/** Collects the provenance of this process. It never asks for a permission. */
export function provenance(): Provenance {
  return {
    version,
    denoVersion: Deno.version.deno,
    host: granted({ name: "sys", kind: "hostname" }) ? Deno.hostname() : null,
    os: Deno.build.os,
    arch: Deno.build.arch,
    cpu: cpuName(),
    cores: navigator.hardwareConcurrency,
    memoryBytes: granted({ name: "sys", kind: "systemMemoryInfo" }) ? Deno.systemMemoryInfo().total : null,
    ...checkout(),
    commandLine: ["yamoe", ...Deno.args].map(quoted).join(" "),
  };
}

function granted(permission: Deno.PermissionDescriptor): boolean {
  return Deno.permissions.querySync(permission).state === "granted";
}

function checkout(): Pick<Provenance, "gitCommit" | "gitDirty"> {
  const folder = import.meta.dirname;
  const commit = folder && git(folder, "rev-parse", "HEAD");
  if (!commit) return { gitCommit: null, gitDirty: null };
  const changes = git(folder, "status", "--porcelain", "--untracked-files=no");
  return { gitCommit: commit, gitDirty: changes === undefined ? null : changes !== "" };
}

/** Returns what git prints, or undefined if it cannot be run or fails. */
function git(folder: string, ...args: string[]): string | undefined {
  if (!granted({ name: "run", command: "git" })) return undefined;
  try {
    const { success, stdout } = new Deno.Command("git", { args, cwd: folder, stderr: "null" }).outputSync();
    return success ? new TextDecoder().decode(stdout).trim() : undefined;
  } catch {
    return undefined; // whatever the reason, a benchmark must not end without its record for it
  }
}

/** Quotes an argument for a shell if that is necessary. */
function quoted(argument: string): string {
  return /^[\w@%+=:,./*-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", `'\\''`)}'`;
}
