import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { CudaError } from "../../mod.ts";
import { toolkit } from "../toolkit.ts";
import { clang } from "./build.ts";
import { TestDevice } from "./device.ts";

const source = new URL("./selftest/announcements.cu", import.meta.url);
const place = `announcements.cu:${Deno.readTextFileSync(source).split("// FAULT")[0]!.split("\n").length}`;

const expected: Record<string, readonly string[]> = {
  fault_announced_too_early: ["a race: read", place],
  fault_not_awaited: ["that was never written", place],
  fault_too_few_announcements: ["deadlock", "wait_for_announcements"],
  fault_released_too_early: ["a race: read"],
};

for (const [kernel, texts] of Object.entries(expected)) {
  Deno.test({
    name: `emulator sm_90: ${kernel} is reported, and its repaired variant passes`,
    ignore: !toolkit || !clang,
    fn: async () => {
      using device = await TestDevice.open(source, 90);
      assert(device.control.checked);
      const run = (fixed: number) => {
        const output = device.allocate(256);
        device.launch(kernel, kernel === "fault_released_too_early" ? 96 : 64, [
          device.upload(new Int32Array(1)),
          output.pointer,
          fixed,
        ], { sharedBytes: 64 });
        return device.download(output);
      };
      assertEquals([...run(1)], Array.from({ length: 64 }, (_, i) => i % 32));
      assertThrows(() => run(0), CudaError);
      for (const text of texts) assertStringIncludes(device.control.report, text);
    },
  });
}

Deno.test({
  name: "emulator sm_90: blocks share tickets, and must wait for each other's announcements",
  ignore: !toolkit || !clang,
  fn: async () => {
    using device = await TestDevice.open(source, 90);
    const run = (tickets: number, fixed: number) => {
      device.control.schedule(0, 0, tickets);
      const output = device.allocate(8 * 32 * 4), counters = device.allocate(9 * 4);
      counters.write(new Int32Array(9));
      device.launch("fault_other_block_not_awaited", 32, [counters.pointer, output.pointer, fixed], {
        ...{ blocks: 4, sharedBytes: 64 },
      });
      assertEquals([...device.download(counters)], [0, 1, 1, 1, 1, 1, 1, 1, 1]);
      return [...device.download(output)].filter((_, i) => i % 32 === 31);
    };
    assertEquals(run(0, 0), [0, 1, 2, 3, 4, 5, 6, 7]); // one block takes all
    assertEquals(run(1, 1), [0, 101, 202, 303, 304, 305, 306, 307]);
    assertEquals(run(2, 1), [0, 1, 102, 103, 204, 205, 306, 307]);
    assertThrows(() => run(2, 0), CudaError);
    assertStringIncludes(device.control.report, "a race: read");
    assertStringIncludes(device.control.report, "of block 0");
  },
});
