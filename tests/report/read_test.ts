// Reading records from files of any kind.
import { assertEquals, assertThrows } from "@std/assert";
import { parseRecords } from "../../src/report/read.ts";
import { toJson } from "../../src/report/json.ts";
import { failure, record } from "../records.ts";

const two = [record([1, 2]), failure("no", { batch: 3 })];
const utf8 = (text: string) => new TextEncoder().encode(text);

/** Encodes text as UTF-16 with a byte order mark. */
function utf16(text: string, littleEndian: boolean): Uint8Array {
  const view = new DataView(new ArrayBuffer(2 * text.length + 2));
  [0xfeff, ...Array.from(text, (_, i) => text.charCodeAt(i))].forEach((unit, i) =>
    view.setUint16(2 * i, unit, littleEndian)
  );
  return new Uint8Array(view.buffer);
}

Deno.test("parseRecords() reads arrays, single objects and lines", () => {
  assertEquals(parseRecords(utf8(toJson(two)), "a"), two);
  assertEquals(parseRecords(utf8(two.map(toJson).join("\n") + "\n"), "a"), two);
  assertEquals(parseRecords(utf8(two.map(toJson).join("\r\n")), "a"), two);
  assertEquals(parseRecords(utf8(toJson(two[0])), "a"), two.slice(0, 1));
});

Deno.test("parseRecords() reads what Windows PowerShell writes: byte order marks and UTF-16", () => {
  const text = toJson(two);
  assertEquals(parseRecords(utf8(`\ufeff${text}`), "a"), two);
  assertEquals(parseRecords(utf8(`\ufeff${two.map(toJson).join("\n")}`), "a"), two);
  for (const littleEndian of [true, false]) assertEquals(parseRecords(utf16(text, littleEndian), "a"), two);
});

Deno.test("parseRecords() converts the memory of records of older versions", () => {
  const { peakMemoryBytes: _, schema: __, ...old } = record([1, 2]);
  const [read] = parseRecords(utf8(toJson({ ...old, peakMemoryMb: 1.5 })), "a");
  assertEquals(read?.peakMemoryBytes, 1.5 * 2 ** 20);
});

const refused: Record<string, [content: string | Uint8Array, reason: string]> = {
  "an empty file": ["", "it is empty"],
  "an empty list": ["[]", "it contains no records"],
  "CSV": ["batch,seq\n1,2\n", "it is not valid JSON and may be cut off"],
  "a cut array": [toJson(two).slice(0, 300), "it is not valid JSON and may be cut off"],
  "a cut line": [`${toJson(two[0])}\n${toJson(two[1]).slice(0, 40)}`, "line 2 is not valid JSON and may be cut off"],
  "an empty object": ["{}", '"batch" of the record must be an integer from 1 on, got nothing'],
  "a record without times": [
    '[{"batch":1,"seq":1,"hidden":1}]',
    '"kernelTimeMs" of the record must be a number above 0',
  ],
  "null": ["null", "the record is null"],
  "a number in a list": [toJson([two[0], 3]), "record 2 is 3"],
  "binary data": [new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0xc3]), "it is not text in UTF-8"],
};

for (const [name, [content, reason]] of Object.entries(refused)) {
  Deno.test(`parseRecords() refuses ${name}`, () => {
    const bytes = typeof content === "string" ? utf8(content) : content;
    assertThrows(() => parseRecords(bytes, "some.json"), SyntaxError, "Cannot read some.json: ");
    assertThrows(() => parseRecords(bytes, "some.json"), SyntaxError, reason);
  });
}

Deno.test("parseRecords() refuses every figure of a wrong type with its name", () => {
  for (const key of Object.keys(two[0] ?? {})) {
    for (const wrong of [{ a: 1 }, [{}], key === "commandLine" ? 7 : true]) {
      if (["gitDirty", "gated", "batchInvariant", "converged"].includes(key) && wrong === true) continue;
      const bytes = utf8(toJson([two[1], { ...two[0], [key]: wrong }]));
      assertThrows(() => parseRecords(bytes, "a.json"), SyntaxError, `"${key}" of record 2 must be `);
    }
  }
});
