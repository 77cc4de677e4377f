// The one-token faults that mutants have.

/** Patterns, and what replaces them. */
const exchanges: readonly (readonly [RegExp, string])[] = [
  [/ < (?!<)/, " <= "],
  [/ <= /, " < "],
  [/ > (?!>)/, " >= "],
  [/ >= /, " > "],
  [/ == /, " != "],
  [/ && /, " || "],
  [/ \+ /, " - "],
  [/ - /, " + "],
  [/ \* /, " + "],
  [/ % /, " / "],
  [/ & (?!&)/, " | "],
  [/ \^ /, " | "],
  [/ >> /, " << "],
  [/ << /, " >> "],
  [/\bmin\(/, "max("],
  [/\b0\b/, "1"],
  [/\b1\b/, "0"],
  [/\b1\b/, "2"],
  [/\b2\b/, "1"],
  [/\b8\b/, "4"],
  [/\b16\b/, "8"],
  [/\b32\b/, "16"],
  [/__syncthreads\(\);/, ""],
  [/__syncwarp\(\);/, ""],
  [/cp_async_wait<[^;]*;/, ""],
  [/cp_async_wait<Tile::kStages - 2>/, "cp_async_wait<Tile::kStages - 1>"],
  [/cp_async_commit\(\);/, ""],
  [/fence_async_proxy\(\);/, ""],
  [/__fdividef\(/, "fmaxf("],
];

/** A text with a fault in one line. */
export interface Fault {
  readonly line: number;
  /** The line without its comment, as it was and as it is. */
  readonly before: string;
  readonly after: string;
  readonly text: string;
}

/** Explanations do not depend on comments. */
function withoutComment(line: string): string {
  return line.replace(/\s*\/\/.*$/, "");
}

/** Plants each fault into the text of a kernel file, one at a time. */
export function* faultsOf(text: string): Iterable<Fault> {
  const lines = text.split("\n");
  for (const [i, before] of lines.entries()) {
    const code = withoutComment(before);
    if (/^\s*(#|static_assert|template|using|struct|namespace|extern|constexpr int k)/.test(code)) continue;
    for (const [from, to] of exchanges) {
      for (const match of code.matchAll(new RegExp(from, "g"))) {
        const after = before.slice(0, match.index) + to + before.slice(match.index + match[0].length);
        yield {
          line: i + 1,
          before: code.trim(),
          after: withoutComment(after).trim(),
          text: lines.with(i, after).join("\n"),
        };
      }
    }
  }
}
