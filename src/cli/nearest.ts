/**
 * Returns the word that a misspelt word probably means: one that differs in few letters, or the only one that begins with
 * it. Undefined if no word is near.
 */
export function nearest(word: string, words: readonly string[]): string | undefined {
  const beginning = word.length >= 2 ? words.filter((other) => other.startsWith(word)) : [];
  if (beginning.length === 1) return beginning[0];
  const limit = Math.max(1, Math.floor(word.length / 3));
  const near = words.map((other) => ({ other, edits: editDistance(word.toLowerCase(), other.toLowerCase()) }))
    .filter(({ other, edits }) => edits <= limit && edits < other.length);
  return near.toSorted((a, b) => a.edits - b.edits)[0]?.other;
}

/** Returns how many letters must be inserted, deleted, replaced or swapped with their neighbor to turn one word into another. */
function editDistance(a: string, b: string): number {
  const at = (row: readonly number[] | undefined, column: number) => row?.[column] ?? Infinity;
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i], above = rows[i - 1];
    for (let j = 1; j <= b.length; j++) {
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      row.push(Math.min(
        at(above, j) + 1,
        at(row, j - 1) + 1,
        at(above, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1),
        swapped ? at(rows[i - 2], j - 2) + 1 : Infinity,
      ));
    }
    rows.push(row);
  }
  return at(rows[a.length], b.length);
}

/** Returns a suggestion to append to a message; empty if no word is near. */
export function suggestion(word: string, words: readonly string[], prefix = ""): string {
  const near = nearest(word, words);
  return near === undefined ? "" : `; the nearest is "${prefix}${near}"`;
}
