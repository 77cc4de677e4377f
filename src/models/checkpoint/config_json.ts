// Reads config.json as Python's json module writes it.

/** A string, or one of the constants that Python writes and JSON does not have. */
const stringOrConstant = /"(?:[^"\\]|\\.)*"|-?Infinity\b|NaN\b/g;

const replacements: Readonly<Record<string, string>> = { "Infinity": "1e999", "-Infinity": "-1e999", "NaN": "null" };

/**
 * Parses JSON with the constants `Infinity`, `-Infinity` and `NaN`. `NaN` becomes null.
 *
 * @param text The text.
 * @returns The value.
 * @throws {SyntaxError} If the text is not JSON.
 */
export function parseConfigJson(text: string): unknown {
  const json = text.replace(stringOrConstant, (token) => replacements[token] ?? token);
  return JSON.parse(json);
}
