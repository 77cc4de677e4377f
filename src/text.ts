// Numbers, nouns and foreign text as people read them.

/** Writes a count and its noun. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** Writes an amount of memory in a unit of its size. */
export function formatBytes(bytes: number): string {
  if (bytes >= 2 ** 30) return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  return bytes >= 2 ** 20 ? `${(bytes / 2 ** 20).toFixed(1)} MiB` : `${(bytes / 2 ** 10).toFixed(1)} KiB`;
}

/** Writes a rate of operations in a unit of its size. */
export function formatRate(flops: number): string {
  return flops >= 1e12 ? `${(flops / 1e12).toFixed(1)} TFLOP/s` : `${(flops / 1e9).toFixed(1)} GFLOP/s`;
}

/** The longest foreign text that a message quotes. */
const maximumQuote = 120;

/**
 * Makes foreign text, such as a name from a file, safe to print: escapes the characters that control a terminal or do not
 * show.
 *
 * @param text The text.
 * @returns The text on one line, with such characters as `\u001b`.
 */
export function printable(text: string): string {
  return text.replace(/\p{Cc}|\p{Cf}|\p{Cs}|\p{Zl}|\p{Zp}/gu, (character) => {
    const code = (character.codePointAt(0) ?? 0).toString(16);
    return code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, "0")}`;
  });
}

/** Escapes the characters that have a meaning in a regular expression. */
export function escapePattern(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

/** Quotes foreign text in a message: like {@linkcode printable}, in double quotes, and shortened if it is long. */
export function quote(text: string): string {
  const short = text.length > maximumQuote ? `${text.slice(0, maximumQuote)}…` : text;
  return printable(JSON.stringify(short));
}

/** Describes a value in an error message: its type or, if it is short, the value. */
export function describeValue(value: unknown): string {
  if (typeof value === "string") return quote(value);
  if (typeof value === "object" && value !== null) return value.constructor?.name ?? "an object";
  if (typeof value === "function") return "a function";
  return typeof value === "bigint" ? `${value}n` : String(value);
}
