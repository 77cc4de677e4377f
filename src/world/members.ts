// What each rank reports when it joins, and whether the ranks fit together.

/** One rank of a run. */
export interface Member {
  readonly rank: number;
  /** The number of ranks that it expects. */
  readonly ranks: number;
  /** The version of this package. */
  readonly version: string;
  /** The version of NCCL. */
  readonly nccl: number;
  readonly host: string;
  /** The UUID of its GPU. */
  readonly gpu: string;
}

/** Checks the type of a message. */
export function isMember(value: unknown): value is Member {
  if (typeof value !== "object" || value === null) return false;
  const { rank, ranks, version, nccl, host, gpu } = value as Record<keyof Member, unknown>;
  return [rank, ranks, nccl].every((number) => typeof number === "number") &&
    [version, host, gpu].every((text) => typeof text === "string");
}

/**
 * Checks a rank that joins.
 *
 * @param joining The rank.
 * @param members The ranks that have joined. The first is rank 0.
 * @returns Why it cannot join; undefined if it can.
 */
export function joinProblem(joining: Member, members: readonly [Member, ...Member[]]): string | undefined {
  const [first] = members;
  const { rank, ranks, version, nccl, host, gpu } = joining;
  const differs = (name: string, own: unknown, other: unknown) =>
    own === other ? undefined : `rank ${rank} has ${name} ${own}, but rank 0 has ${other}`;
  if (!Number.isInteger(rank) || rank < 1 || rank >= first.ranks) {
    return `rank must be an integer from 1 to ${first.ranks - 1}, got ${rank}`;
  }
  const same = members.find((member) => member.rank === rank);
  if (same) return `rank ${rank} joined twice, from ${same.host} and ${host}`;
  const shared = members.find((member) => member.host === host && member.gpu === gpu);
  return differs("the world size", ranks, first.ranks) ?? differs("yamoe", version, first.version) ??
    differs("NCCL", formatNccl(nccl), formatNccl(first.nccl)) ??
    (shared && `ranks ${shared.rank} and ${rank} use the same GPU of ${host}, ${gpu}; each rank needs its own`);
}

/** Formats 22809 as "2.28.9". */
export function formatNccl(version: number): string {
  return `${Math.floor(version / 10000)}.${Math.floor(version / 100) % 100}.${version % 100}`;
}
