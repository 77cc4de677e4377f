// Every family's checkpoint, found by config.json alone, against float64.
import { assertEquals } from "@std/assert";
import type { Published } from "./checkpoints.ts";
import { published } from "./published.ts";
import { type Row, rowOf, tablePath, tableText } from "./table.ts";

const rows = new Map<Published, Row>();

for (const family of published) {
  Deno.test(`${family.name}: f32, bf16 and packed weights, found by config.json alone`, async () => {
    const row = await rowOf(family);
    rows.set(family, row);
    assertEquals(row, { f32: true, bf16: true, packed: { right: row.packed.right, wrong: [] } });
  });
}

Deno.test("table.md is the table of the families; write it with deno run -A tests/families/table.ts", async () => {
  if (rows.size < published.length) return; // only some tests ran
  assertEquals(await Deno.readTextFile(tablePath), tableText(rows));
});
