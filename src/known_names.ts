// Finds misspelled names at run time, for callers without a type checker.

/**
 * Checks that an object has only known members. Members that are undefined may have any name.
 *
 * @param what The name of the object, for the message.
 * @param given The object.
 * @param known The known names.
 * @throws {TypeError} If the object has an unknown member. The message suggests the nearest known name.
 */
export function checkNames(what: string, given: object, known: readonly string[]): void {
  for (const name of Object.keys(definedMembers(given))) {
    if (known.includes(name)) continue;
    const nearest = nearestName(name, known);
    const hint = nearest === undefined ? `expected one of ${known.join(", ")}` : `did you mean "${nearest}"?`;
    throw new TypeError(`Unknown member "${name}" of ${what}: ${hint}`);
  }
}

/** Copies an object without its undefined members. */
export function definedMembers<Value extends object>(value: Value): Value {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as Value;
}

/**
 * Finds the known name that a misspelled name most likely means.
 *
 * @param name The misspelled name.
 * @param known The known names.
 * @returns The nearest known name, or undefined if none is near: a wrong suggestion is worse than none.
 */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  const near = known
    .map((candidate) => ({ candidate, distance: editDistance(name.toLowerCase(), candidate.toLowerCase()) }))
    .filter(({ candidate, distance }) => distance <= Math.max(name.length, candidate.length) / 5)
    .sort((a, b) => a.distance - b.distance);
  return near[0]?.candidate;
}

/** Counts the insertions, deletions, replacements and swaps of neighbors that turn one text into another. */
function editDistance(from: string, to: string): number {
  const rows = [Array.from({ length: to.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= from.length; i++) {
    const above = rows[i - 1] as number[];
    const row = [i];
    for (let j = 1; j <= to.length; j++) {
      const same = from[i - 1] === to[j - 1];
      const swapped = i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1];
      row.push(Math.min(
        at(above, j) + 1,
        at(row, j - 1) + 1,
        at(above, j - 1) + (same ? 0 : 1),
        swapped ? at(rows[i - 2], j - 2) + 1 : Infinity,
      ));
    }
    rows.push(row);
  }
  return at(rows.at(-1), to.length);
}

function at(row: readonly number[] | undefined, index: number): number {
  return row?.[index] ?? Infinity;
}
