// The counting sort of assignments by expert, stable, with the capacity applied.
import type { ResolvedExperts } from "../contract/resolve_experts.ts";

/** Assignments in expert order. N kept of T · K. Everything in shared memory. */
export interface SortedAssignments {
  /** E + 1: where the kept assignments of each expert begin; the last is N. */
  readonly offsets: Int32Array;
  /** N: the token of each kept assignment. */
  readonly tokens: Int32Array;
  /** T · K: the place of each assignment among the kept ones, -1 where it was dropped. */
  readonly rows: Int32Array;
}

/** N, f32: the weight of each kept assignment, of those of all. */
export function sortWeights(weights: Float32Array, { tokens, rows }: SortedAssignments): Float32Array {
  const sorted = new Float32Array(new SharedArrayBuffer(tokens.length * 4));
  for (const [i, row] of rows.entries()) if (row >= 0) sorted[row] = weights[i]!;
  return sorted;
}

/** Sorts assignments by expert, in token order within an expert, and drops those past the capacity. */
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
