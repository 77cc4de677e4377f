import { assertEquals } from "@std/assert";
import { explanations, findStale } from "./survivors.ts";

const reason = "No test reads it.";
const texts = new Map([["a.cu", "  if (a < 0) b = 3;  // a comment\n  c = 3;\n"]]);

Deno.test("survivors: an explanation of a line that is in its file is not stale", () => {
  const line = { file: "a.cu", before: "if (a < 0) b = 3;", reason };
  assertEquals(findStale([{ ...line, after: ["if (a <= 0) b = 3;", "if (a < 1) b = 3;"] }], texts), []);
});

Deno.test("survivors: stale explanations are found", () => {
  const cases: readonly (readonly [file: string, before: string, after: string])[] = [
    ["a.cu", "if (a < 0) b = 4;", "if (a <= 0) b = 4;"], // the line has changed
    ["a.cu", "if (a < 0) b = 3;", "if (a > 0) b = 3;"], // not a mutant of the line
    ["b.cu", "if (a < 0) b = 3;", "if (a <= 0) b = 3;"], // the file does not exist
  ];
  for (const [file, before, after] of cases) {
    assertEquals(findStale([{ file, before, after: [after], reason }], texts), [
      `${file}\n  - ${before}\n  + ${after}`,
    ]);
  }
});

Deno.test("survivors: an explanation is stale if its line occurs less often", () => {
  const once = { file: "a.cu", before: "if (a < 0) b = 3;", after: ["if (a <= 0) b = 3;"], reason };
  assertEquals(findStale([once, once], texts).length, 1);
});

Deno.test("survivors: no explanation in survivors.jsonl is stale", () => {
  const folder = new URL("../../../cuda/", import.meta.url);
  const files = [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) => /\.cuh?$/.test(name));
  const texts = new Map(files.map((name) => [name, Deno.readTextFileSync(new URL(name, folder))]));
  assertEquals(findStale(explanations, texts), []);
});
