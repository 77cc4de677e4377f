import { assertEquals } from "@std/assert";
import { Control } from "../emulator/control.ts";
import { toolkit } from "../toolkit.ts";
import { buildProduct, emulated } from "./emulated.ts";
import { sortJob, sortOnDevice, sortPlainly } from "./sort.ts";

const cases: readonly [count: number, experts: number, capacity: number, ways: readonly ("small" | "chunks")[]][] = [
  [17000, 7, 1000, ["chunks"]],
  [8192, 1, 5000, ["chunks"]],
  [4100, 1024, 3, ["chunks"]],
  [4097, 128, 40, ["chunks"]],
  [4096, 128, 40, ["small", "chunks"]],
  [4096, 1, 5000, ["small"]],
  [4095, 500, 2 ** 31 - 1, ["small"]],
  [1025, 7, 100, ["small", "chunks"]],
  [700, 1024, 1, ["small"]],
  [255, 5, 2 ** 31 - 1, ["small", "chunks"]],
  [33, 33, 2, ["small"]],
  [8, 128, 8, ["small"]],
  [1, 1, 1, ["small"]],
];

for (const [count, experts, capacity, ways] of cases) {
  for (const way of ways) {
    Deno.test({
      name: `cuda, ${emulated}: ${count} assignments to ${experts} experts are sorted (${way}), by definition`,
      ignore: !toolkit,
      fn: async () => {
        const { library } = await buildProduct(80);
        const control = new Control(library);
        const job = sortJob(count, experts, capacity);
        for (const seed of [0, 1]) {
          control.reset();
          control.schedule(seed);
          assertEquals(await sortOnDevice(library, job, way === "small"), sortPlainly(job));
        }
        control.reset();
        assertEquals(control.live, "");
      },
    });
  }
}
