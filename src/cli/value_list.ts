import { escapePattern } from "../text.ts";
import { UsageError } from "./usage_error.ts";

/** The maximum number of values of one range. */
const maxRange = 10_000;

/** Returns the words that match a pattern, in which `*` means any characters. */
export function matching<Word extends string>(pattern: string, words: readonly Word[]): Word[] {
  const expression = new RegExp(`^${pattern.split("*").map(escapePattern).join(".*")}$`);
  return words.filter((word) => expression.test(word));
}

/**
 * Returns the values of a list and expands its ranges: `1,4` are two, `1..4` four, `1..9+4` three, `1..64*2` seven. If the values
 * are words, patterns such as `qwen*` are all words that match.
 */
export function listed(name: string, text: string, words: readonly string[] = []): string[] {
  return text.split(",").flatMap((part) => {
    const found = part.includes("*") ? matching(part, words) : [];
    if (found.length > 0) return found;
    const range = part.match(/^(\d+)\.\.(\d+)(?:([*+])(\d+))?$/);
    if (!range) return [part];
    const [first, last, step] = [range[1], range[2], range[4] ?? 1].map(Number) as [number, number, number];
    const multiply = range[3] === "*";
    if (!Number.isSafeInteger(last) || first > last || step < (multiply ? 2 : 1) || (multiply && first === 0)) {
      throw new UsageError(`--${name} takes ranges such as 1..8, 1..9+4 or 1..64*2, got "${part}"`);
    }
    const values: string[] = [];
    for (let value = first; value <= last; value = multiply ? value * step : value + step) {
      values.push(`${value}`);
      if (values.length <= maxRange) continue;
      throw new UsageError(`--${name} takes ranges of at most ${maxRange} values, got "${part}"`);
    }
    return values;
  });
}
