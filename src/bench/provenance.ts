/**
 * Where and how a figure came to be: what one must know to get it again.
 *
 * @module
 */
import { cpuName } from "../cpu/device.ts";

/** The host, its software and the command line. Null where the permission to ask was not given. */
export interface Provenance {
  readonly denoVersion: string;
  readonly os: string;
  readonly arch: string;
  readonly cpu: string;
  /** Logical cores. */
  readonly cores: number;
  readonly memoryBytes: number | null;
  /** The commit that this package was run from; null outside a checkout, or without the permission to run git. */
  readonly gitCommit: string | null;
  /** Whether that checkout had changes. */
  readonly gitDirty: boolean | null;
  readonly commandLine: string;
}

/** Collects what there is to know of this process. Asks for no permission. */
export function provenance(): Provenance {
  return {
    denoVersion: Deno.version.deno,
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

/** What git prints; undefined where it cannot. */
function git(folder: string, ...args: string[]): string | undefined {
  if (!granted({ name: "run", command: "git" })) return undefined;
  try {
    const { success, stdout } = new Deno.Command("git", { args, cwd: folder, stderr: "null" }).outputSync();
    return success ? new TextDecoder().decode(stdout).trim() : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** An argument as a shell would need it. */
function quoted(argument: string): string {
  return /^[\w@%+=:,./*-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", `'\\''`)}'`;
}
