// Plans which rows travel between ranks. Pure functions of the ranks' counts, the same on every rank.
//
// Each rank sorts its assignments by expert. An expert lives on one rank, and the experts of a rank are contiguous, so the rows for
// each rank are contiguous too. A rank receives the rows of rank 0 first, then those of rank 1 and so on, each part sorted by
// expert. A stable sort by expert then gives the order that one GPU would have: by expert, then by rank and token.

/** A range of integers: the end is not included. */
export interface Range {
  /** The first integer. */
  readonly start: number;
  /** The integer after the last. */
  readonly end: number;
}

/** Returns the experts, or the tokens, of a rank: `total` divided as evenly as possible, in order. */
export function shareOf(total: number, ranks: number, rank: number): Range {
  return { start: Math.floor(rank * total / ranks), end: Math.floor((rank + 1) * total / ranks) };
}

/** Consecutive rows of a buffer that go to, or come from, one rank. */
export interface Part {
  /** The first row. */
  readonly start: number;
  /** The number of rows. */
  readonly rows: number;
}

/** The rows that one rank exchanges with every rank, itself included. */
export interface ExchangePlan {
  /** The rows of the sorted assignments that go to each rank. */
  readonly sends: readonly Part[];
  /** The received rows that come from each rank. */
  readonly receives: readonly Part[];
  /** The number of rows that are sent. */
  readonly sent: number;
  /** The number of rows that are received. */
  readonly received: number;
}

/**
 * Plans the exchange of one rank.
 *
 * @param offsets For each rank, [E + 1]: the number of its rows that belong to the experts before each one. The last is the number of
 * its rows.
 * @param rank The rank.
 * @returns The plan. The combine step uses it in the other direction.
 */
export function planExchange(offsets: readonly ArrayLike<number>[], rank: number): ExchangePlan {
  const ranks = offsets.length;
  const experts = (offsets[rank]?.length ?? 1) - 1;
  const part = (source: number, target: number): Part => {
    const { start, end } = shareOf(experts, ranks, target);
    const first = offsets[source]?.[start] ?? 0;
    return { start: first, rows: (offsets[source]?.[end] ?? 0) - first };
  };
  const sends = offsets.map((_, target) => part(rank, target));
  let received = 0;
  const receives = offsets.map((_, source) => {
    const { rows } = part(source, rank);
    const start = received;
    received += rows;
    return { start, rows };
  });
  return { sends, receives, sent: offsets[rank]?.[experts] ?? 0, received };
}

/** What every rank must agree on before rows travel. */
export interface CallHeader {
  /** A digest of the sizes and options that must be equal. */
  readonly digest: number;
  /** The number of tokens of the rank. */
  readonly tokens: number;
}

/** The integers before the offsets of a rank in the table that all ranks gather: the members of {@linkcode CallHeader}. */
export const headerLength = 2;

/** Digests a text to 31 bits (FNV-1a), for {@linkcode CallHeader.digest}. */
export function digestText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash & 0x7fffffff;
}

/**
 * Splits the gathered table, [ranks, header and offsets], and checks that all ranks make the same call.
 *
 * @throws {RangeError} If a rank's call has other sizes or options.
 */
export function readTable(table: Int32Array, ranks: number, rank: number): { offsets: Int32Array[]; tokens: number[] } {
  const width = table.length / ranks;
  const rows = Array.from({ length: ranks }, (_, r) => table.subarray(r * width, (r + 1) * width));
  const own = rows[rank]?.[0];
  const other = rows.findIndex((row) => row[0] !== own);
  if (other >= 0) {
    throw new RangeError(
      `All ranks must make the same call, but the sizes or options of rank ${other} differ from those of rank ${rank}`,
    );
  }
  return { offsets: rows.map((row) => row.subarray(headerLength)), tokens: rows.map((row) => row[1] ?? 0) };
}
