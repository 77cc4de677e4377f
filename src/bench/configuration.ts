// Which records are of one configuration.
import type { BenchRecord, FigureKey } from "./figures.ts";

/** Returns the values of some figures as one text: records with equal texts agree in those figures. */
export function identity<Key extends FigureKey>(record: Pick<BenchRecord, Key>, keys: readonly Key[]): string {
  return JSON.stringify(keys.map((key) => String(record[key])));
}

/**
 * Returns the keys that distinguish records which agree in `given`. A key that follows from earlier ones is left out.
 */
export function distinguishingKeys<Key extends FigureKey>(
  records: readonly Pick<BenchRecord, Key>[],
  keys: readonly Key[],
  given: readonly Key[] = [],
): Key[] {
  const groups = (keys: readonly Key[]) => new Set(records.map((record) => identity(record, keys))).size;
  const chosen: Key[] = [];
  // The name of a preset implies its sizes, but "custom" does not.
  const isNamed = (key: Key) => key !== "preset" || records.every((record) => record[key] !== "custom");
  for (const key of [...keys.filter(isNamed), ...keys.filter((key) => !isNamed(key))]) {
    if (groups([...given, ...chosen, key]) > groups([...given, ...chosen])) chosen.push(key);
  }
  return chosen;
}
