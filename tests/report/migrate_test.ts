// Reads what earlier commits wrote. Each file in records/ is named after its commit.
import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { compare } from "../../src/bench/compare.ts";
import { schemaVersion } from "../../src/bench/figures.ts";
import { parseRecords } from "../../src/report/read.ts";
import { toJson } from "../../src/report/json.ts";
import { record } from "../records.ts";

const folder = new URL("records/", import.meta.url);
const read = (name: string) => parseRecords(Deno.readFileSync(new URL(name, folder)), name);
const names = [...Deno.readDirSync(folder)].map(({ name }) => name).toSorted();

for (const name of names) {
  Deno.test(`parseRecords() migrates ${name}`, () => {
    for (const found of read(name)) {
      const { schema, op, model, weights, formats, skew, ep, status, preset, kernelTimesMs } = found;
      assertEquals({ schema, op, weights, formats, skew, ep, status, preset, count: kernelTimesMs?.length }, {
        ...{ schema: schemaVersion, op: "experts", weights: "dense", formats: "f16", skew: 0, ep: 1 },
        ...{ status: "ok", preset: "tiny", count: 6 },
      });
      assertEquals(model, "synthetic");
      assertAlmostEquals((found.peakMemoryBytes ?? 0) / 2 ** 20, 3.5, 0.3);
    }
  });

  Deno.test(`compare() compares ${name} with a record of today`, () => {
    const today = [2, 4].map((batch) => record([5, 5, 5, 5, 5, 5], { batch }));
    const comparisons = compare(read(name), today, 0.01);
    assertEquals(
      comparisons.filter(({ beforeMs, afterMs }) => beforeMs !== null && afterMs !== null).length,
      read(name).length,
    );
  });
}

Deno.test("parseRecords() refuses records of a newer schema", () => {
  const bytes = new TextEncoder().encode(toJson({ ...record([1, 2]), schema: schemaVersion + 1 }));
  assertThrows(() => parseRecords(bytes, "a.json"), SyntaxError, "a newer version of yamoe wrote it: schema 3");
});
