import { assertEquals } from "@std/assert";
import { Control } from "../emulator/control.ts";
import { toolkit } from "../toolkit.ts";
import { buildProduct, emulated } from "./emulated.ts";
import { sortJob, sortOnDevice, sortPlainly } from "./sort.ts";

for (const [count, experts, capacity] of [[17000, 7, 1000], [8192, 1, 5000], [4100, 1024, 3], [255, 5, 2 ** 31 - 1]]) {
  Deno.test({
    name: `cuda, ${emulated}: ${count} assignments to ${experts} experts are sorted chunk by chunk, by definition`,
    ignore: !toolkit,
    fn: async () => {
      const { library } = await buildProduct(80);
      const control = new Control(library);
      const job = sortJob(count!, experts!, capacity!);
      for (const seed of [0, 1]) {
        control.reset();
        control.schedule(seed);
        assertEquals(await sortOnDevice(library, job), sortPlainly(job));
      }
      control.reset();
      assertEquals(control.live, "");
    },
  });
}
