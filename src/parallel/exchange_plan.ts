// Plans which rows travel between ranks. Pure functions of the ranks' counts, the same on every rank.
//
// Each rank sorts its assignments by expert. An expert lives on one rank, and the experts of a rank are contiguous, so the rows for
// each rank are contiguous too. The rank of an expert computes its rows in the order that one GPU would have: by rank, then by token.
import type { ResolvedExperts } from "../contract/resolve_experts.ts";
import type { Mxfp4Format } from "../tensor/packed_tensor.ts";

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

/** The rows that one rank exchanges with every rank, itself included. */
export interface ExchangePlan {
  /** For each rank, the rows of this rank's sorted assignments that belong to the experts of that rank. */
  readonly own: readonly Part[];
  /** For each rank, its rows that belong to this rank's experts: ordered by rank, then by expert, then by token. */
  readonly others: readonly Part[];
  /** [rows of `others`]: the number of each row among those that this rank computes, or -1 if it is beyond the capacity. */
  readonly order: Int32Array<ArrayBuffer>;
  /** The number of rows that this rank computes. */
  readonly computed: number;
}

/**
 * Plans the exchange of one rank.
 *
 * @param offsets For each rank, [E + 1]: the number of its rows that belong to the experts before each one. The last is the number of
 * its rows.
 * @param rank The rank.
 * @param options.capacity The maximum number of rows of an expert. The first ones are kept.
 * @param options.own Whether this rank's own rows are among those that it computes.
 */
export function planExchange(
  offsets: readonly ArrayLike<number>[],
  rank: number,
  { capacity = Infinity, own: withOwn = true }: { readonly capacity?: number; readonly own?: boolean } = {},
): ExchangePlan {
  const ranks = offsets.length;
  const experts = (offsets[rank]?.length ?? 1) - 1;
  const rowsOf = (source: number, first: number, end: number) => {
    const row = offsets[source] ?? [];
    return { start: row[first] ?? 0, rows: (row[end] ?? 0) - (row[first] ?? 0) };
  };
  const computedOf = (source: number, first: number, end: number) =>
    withOwn || source !== rank ? rowsOf(source, first, end).rows : 0;
  const own = offsets.map((_, target) => {
    const { start, end } = shareOf(experts, ranks, target);
    return rowsOf(rank, start, end);
  });

  const { start: first, end } = shareOf(experts, ranks, rank);
  let received = 0;
  const others = offsets.map((_, source) => {
    const rows = computedOf(source, first, end);
    received += rows;
    return { start: received - rows, rows };
  });
  const order = new Int32Array(received);
  const next = others.map(({ start }) => start); // where the next expert's rows of each rank begin
  let computed = 0;
  for (let expert = first; expert < end; expert++) {
    let kept = 0;
    for (let source = 0; source < ranks; source++) {
      const rows = computedOf(source, expert, expert + 1);
      const at = next[source] ?? 0;
      next[source] = at + rows;
      for (let i = 0; i < rows; i++) order[at + i] = kept < capacity ? computed + kept++ : -1;
    }
    computed += kept;
  }
  return { own, others, order, computed };
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

/** The details of packed formats that depend on the numbers of a rank's experts, so they can differ from rank to rank. */
const ownDetails: readonly string[] = ["exactInF16", "hasWideScales"] satisfies (keyof Mxfp4Format)[];

/** Digests a call to 31 bits (FNV-1a), for {@linkcode CallHeader.digest}. The number of tokens can differ from rank to rank. */
export function digestCall(shape: ResolvedExperts): number {
  const text = JSON.stringify({ ...shape, tokens: 0 }, (name, value) => ownDetails.includes(name) ? undefined : value);
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
