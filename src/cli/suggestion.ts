import { nearestName } from "../known_names.ts";

/** Returns the suggestion that ends a message about an unknown word; empty if no word is near. */
export function suggestion(word: string, words: readonly string[], prefix = ""): string {
  const beginning = word.length >= 2 ? words.filter((other) => other.startsWith(word)) : [];
  const near = beginning.length === 1 ? beginning[0] : nearestName(word, words);
  return near === undefined ? "" : `; the nearest is "${prefix}${near}"`;
}
