// Plans which rows travel between ranks. Pure functions of the ranks' counts, the same on every rank.
//
// Each rank sorts its assignments by expert. The rank of an expert computes its rows in the order that one GPU would have: by rank, then
// by token. So the rows of one rank and one expert are contiguous on both sides.

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

/** Consecutive rows of a buffer. */
export interface Part {
  /** The first row. */
  readonly start: number;
  /** The number of rows. */
  readonly rows: number;
}

/** For each rank, one part for each of the experts that it and another rank share. */
export type PartsByRank = readonly (readonly Part[])[];

/** The rows that one rank exchanges with every rank, itself included. */
export interface ExchangePlan {
  /** For each rank, the rows of this rank's sorted assignments that belong to the experts of that rank. */
  readonly own: PartsByRank;
  /** For each rank, the rows of this rank's experts that belong to the tokens of that rank. */
  readonly computed: PartsByRank;
  /** [experts of this rank + 1]: the first row of each expert, and the number of rows that this rank computes. */
  readonly expertOffsets: Int32Array<ArrayBuffer>;
  /** Whether some of this rank's sorted assignments are beyond the capacity of their expert. */
  readonly drops: boolean;
}

/**
 * Plans the exchange of one rank. The rows of an expert are ordered by rank.
 *
 * @param offsets For each rank, [E + 1]: the number of its rows that belong to the experts before each one. The last is the number of
 * its rows.
 * @param rank The rank.
 * @param capacity The maximum number of rows of an expert. The first ones are kept.
 */
export function planExchange(
  offsets: readonly ArrayLike<number>[],
  rank: number,
  capacity: number = Infinity,
): ExchangePlan {
  const ranks = offsets.length;
  const experts = (offsets[rank]?.length ?? 1) - 1;
  const offset = (source: number, expert: number) => offsets[source]?.[expert] ?? 0;
  /** Returns [ranks + 1]: the kept rows of an expert that come from the ranks before each one. */
  const keptBefore = (expert: number) => {
    const before = [0];
    let count = 0;
    for (let source = 0; source < ranks; source++) {
      count += offset(source, expert + 1) - offset(source, expert);
      before.push(Math.min(capacity, count));
    }
    return before;
  };
  const part = (before: readonly number[], source: number, first: number): Part => ({
    start: first,
    rows: (before[source + 1] ?? 0) - (before[source] ?? 0),
  });

  let sent = 0;
  const own = Array.from({ length: ranks }, (_, target) =>
    expertsOf(experts, ranks, target).map((expert) => {
      const one = part(keptBefore(expert), rank, offset(rank, expert));
      sent += one.rows;
      return one;
    }));
  const mine = expertsOf(experts, ranks, rank).map(keptBefore);
  const expertOffsets = new Int32Array(mine.length + 1);
  mine.forEach((before, e) => expertOffsets[e + 1] = (expertOffsets[e] ?? 0) + (before[ranks] ?? 0));
  const computed = Array.from(
    { length: ranks },
    (_, source) => mine.map((before, e) => part(before, source, (expertOffsets[e] ?? 0) + (before[source] ?? 0))),
  );
  return { own, computed, expertOffsets, drops: sent < offset(rank, experts) };
}

function expertsOf(experts: number, ranks: number, rank: number): number[] {
  const { start, end } = shareOf(experts, ranks, rank);
  return Array.from({ length: end - start }, (_, i) => start + i);
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
