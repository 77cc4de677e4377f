// The explanations of the mutants that survive.
import { faultsOf } from "./faults.ts";

/** A line of survivors.jsonl: mutants that no result or check can notice, and why. */
export interface Explanation {
  /** The file, in cuda. */
  readonly file: string;
  /** The line of the unchanged file, without its comment. */
  readonly before: string;
  /** The mutants of the line, each as often as it occurs in the file. */
  readonly after: readonly string[];
  readonly reason: string;
}

/** All explanations. */
export const explanations: readonly Explanation[] =
  (await Deno.readTextFile(new URL("./survivors.jsonl", import.meta.url))).trim().split("\n")
    .map((line) => JSON.parse(line));

/**
 * Finds the explanations of mutants that cannot occur, because their line has changed. Runs no mutant, so a mutant that is now
 * caught is not found.
 *
 * @param texts The kernel files' texts by name.
 */
export function findStale(explanations: readonly Explanation[], texts: ReadonlyMap<string, string>): readonly string[] {
  const keyOf = (file: string, before: string, after: string) => `${file}\n  - ${before}\n  + ${after}`;
  const counts = new Map<string, number>();
  const add = (key: string, n: number) => {
    const count = (counts.get(key) ?? 0) + n;
    counts.set(key, count);
    return count;
  };
  for (const file of new Set(explanations.map(({ file }) => file))) {
    for (const { before, after } of faultsOf(texts.get(file) ?? "")) add(keyOf(file, before, after), 1);
  }
  return explanations.flatMap(({ file, before, after }) => after.map((after) => keyOf(file, before, after)))
    .filter((key) => add(key, -1) < 0);
}
