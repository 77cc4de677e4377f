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
