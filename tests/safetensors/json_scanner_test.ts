import { assertEquals, assertThrows } from "@std/assert";
import { JsonScanner } from "../../src/safetensors/json_scanner.ts";

const scan = (text: string) => new JsonScanner(text, (message) => new SyntaxError(message));

/** The string that JSON.parse reads, or undefined if it refuses the text or the string is not well-formed. */
function parsed(text: string): string | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "string" && value.isWellFormed() ? value : undefined;
  } catch {
    return undefined;
  }
}

Deno.test("JsonScanner reads a string with each UTF-16 code unit, escaped or not, as JSON.parse does", () => {
  for (let unit = 0; unit < 0x10000; unit++) {
    const character = String.fromCharCode(unit), escape = `\\u${unit.toString(16).padStart(4, "0")}`;
    for (const text of [`"a${character}b"`, `"a${escape}b"`, `"\\${character}"`, `"\\n${character}"`]) {
      const expected = parsed(text);
      if (expected === undefined) {
        assertThrows(() => {
          const scanner = scan(text);
          scanner.string();
          scanner.end();
        }, SyntaxError);
      } else assertEquals(scan(text).string(), expected);
    }
  }
});

Deno.test("JsonScanner skips the four white spaces of JSON and no others", () => {
  for (let unit = 0; unit < 0x10000; unit++) {
    if (unit === 0x22) continue;
    const scanner = scan(`${String.fromCharCode(unit)}"a"`);
    if (" \t\n\r".includes(String.fromCharCode(unit))) assertEquals(scanner.string(), "a");
    else assertThrows(() => scanner.string(), SyntaxError, "character 0 must begin a string");
  }
});

Deno.test("JsonScanner refuses strings that do not end", () => {
  for (const text of ['"', '"a', '"a\\', '"\\"', '"a\n"']) {
    assertThrows(() => scan(text).string(), SyntaxError, 'character 0 must begin a string, got "\\""');
  }
});
