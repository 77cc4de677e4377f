// The counting sort of assignments by expert, stable, with the capacity applied.
import type { ResolvedExperts } from "../contract/resolve_experts.ts";

/** Assignments in expert order: N of T · K are kept. All arrays are in shared memory. */
export interface SortedAssignments {
  /** E + 1: the first kept assignment of each expert. The last element is N. */
  readonly offsets: Int32Array;
  /** N: the token of each kept assignment. */
  readonly tokens: Int32Array;
  /** T · K: the position of each assignment among the kept ones, -1 if it was dropped. */
  readonly rows: Int32Array;
}

/** Returns the weights of the kept assignments, N in expert order. */
export function sortWeights(weights: Float32Array, { tokens, rows }: SortedAssignments): Float32Array {
  const sorted = new Float32Array(new SharedArrayBuffer(tokens.length * 4));
  for (const [i, row] of rows.entries()) if (row >= 0) sorted[row] = weights[i]!;
  return sorted;
}

/** Sorts assignments by expert, in token order within an expert, and drops those beyond the capacity. */
export function sortAssignments(indices: Int32Array, { experts, topK, capacity }: ResolvedExperts): SortedAssignments {
  const next = new Int32Array(experts);
  for (let i = 0; i < indices.length; i++) next[indices[i]!]! += 1;
  const offsets = shared(experts + 1);
  for (let e = 0; e < experts; e++) {
    offsets[e + 1] = offsets[e]! + Math.min(next[e]!, capacity);
    next[e] = offsets[e]!;
  }
  const tokens = shared(offsets[experts]!);
  const rows = shared(indices.length);
  for (let i = 0; i < indices.length; i++) {
    const e = indices[i]!;
    const row = next[e]! < offsets[e + 1]! ? next[e]!++ : -1;
    rows[i] = row;
    if (row >= 0) tokens[row] = Math.floor(i / topK);
  }
  return { offsets, tokens, rows };
}

function shared(length: number): Int32Array {
  return new Int32Array(new SharedArrayBuffer(length * 4));
}
