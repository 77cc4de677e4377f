// Finds out which rank this process is: from the variables that launchers set.

/** The place of a process among all processes of a run. */
export interface Placement {
  /** Who started the process. */
  readonly launcher: string;
  /** The number of this process, from 0. */
  readonly rank: number;
  /** The number of processes. */
  readonly ranks: number;
  /** The number of this process on its host, from 0. */
  readonly localRank: number;
  /** The host of rank 0. */
  readonly host: string;
  /** The TCP port of rank 0 at which the ranks meet. */
  readonly port: number;
  /** The secret that all ranks of a run share. */
  readonly secret: string;
}

/** The port if the launcher gives none. */
const defaultPort = 29511;

/** The variables that each launcher sets. SLURM is last, because an `srun` around another launcher sets its variables too. */
const launchers = [
  { name: "torchrun", rank: "RANK", ranks: "WORLD_SIZE", local: "LOCAL_RANK" },
  {
    ...{ name: "Open MPI", rank: "OMPI_COMM_WORLD_RANK", ranks: "OMPI_COMM_WORLD_SIZE" },
    local: "OMPI_COMM_WORLD_LOCAL_RANK",
  },
  { name: "MPICH", rank: "PMI_RANK", ranks: "PMI_SIZE", local: "MPI_LOCALRANKID" },
  { name: "SLURM", rank: "SLURM_PROCID", ranks: "SLURM_NTASKS", local: "SLURM_LOCALID" },
] as const;

/** The variables that are read. They need the permission `--allow-env`. */
export const launcherVariables: readonly string[] = [
  ...launchers.flatMap(({ rank, ranks, local }) => [rank, ranks, local]),
  ...["MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_USE_AGENT_STORE", "TORCHELASTIC_RUN_ID"],
  ...["SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_JOB_ID", "YAMOE_SECRET"],
];

/**
 * Reads the placement from the environment.
 *
 * @param get Returns the value of a variable, or undefined.
 * @returns The placement; undefined if no launcher started this process.
 * @throws {RangeError} If a variable is missing or has an unexpected value.
 */
export function placementFrom(get: (name: string) => string | undefined): Placement | undefined {
  const found = launchers.find(({ rank, ranks }) => get(rank) !== undefined && get(ranks) !== undefined);
  if (!found) return undefined;
  const ranks = integerOf(get, found.ranks, 1, 65536);
  const rank = integerOf(get, found.rank, 0, ranks - 1);
  const localRank = get(found.local) === undefined ? rank : integerOf(get, found.local, 0, ranks - 1);
  const nodes = found.name === "SLURM" ? get("SLURM_STEP_NODELIST") ?? get("SLURM_JOB_NODELIST") : undefined;
  const host = get("MASTER_ADDR") ?? (nodes === undefined ? undefined : firstHost(nodes)) ?? "127.0.0.1";
  // The agent of torchrun listens on MASTER_PORT itself.
  const taken = get("TORCHELASTIC_USE_AGENT_STORE") === "True" ? 1 : 0;
  const port = get("MASTER_PORT") === undefined ? defaultPort : integerOf(get, "MASTER_PORT", 1, 65534) + taken;
  const secret = get("YAMOE_SECRET") ?? get("TORCHELASTIC_RUN_ID") ?? get("SLURM_JOB_ID") ?? "";
  return { launcher: found.name, rank, ranks, localRank, host, port, secret };
}

/** Reads a variable of the environment; undefined without the permission to. */
export function readVariable(name: string): string | undefined {
  if (Deno.permissions.querySync({ name: "env", variable: name }).state !== "granted") return undefined;
  return Deno.env.get(name);
}

function integerOf(
  get: (name: string) => string | undefined,
  name: string,
  minimum: number,
  maximum: number,
): number {
  const text = get(name);
  const value = Number(text);
  if (text !== undefined && /^\d+$/.test(text) && value >= minimum && value <= maximum) return value;
  throw new RangeError(`${name} must be an integer from ${minimum} to ${maximum}, got ${JSON.stringify(text ?? null)}`);
}

/** Returns the first host of a SLURM node list, such as `n[01-04,07],m3`. */
export function firstHost(list: string): string {
  const [, prefix = "", range = "", suffix = ""] = list.match(/^([^[,]*)(?:\[([^\]]*)\]([^,]*))?/) ?? [];
  return prefix + (range.match(/^\d+/)?.[0] ?? "") + suffix;
}
