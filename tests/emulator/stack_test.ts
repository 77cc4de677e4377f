import { assertEquals, assertMatch } from "@std/assert";
import { CudaError } from "../../mod.ts";
import { toolkit } from "../toolkit.ts";
import { clang } from "./build.ts";
import { TestDevice } from "./device.ts";

const source = new URL("./selftest/stack.cu", import.meta.url);

/** Writes at a distance below the frame of a thread. Returns the report. */
async function reportOf(distance: number): Promise<string> {
  using device = await TestDevice.open(source, 80);
  const out = device.allocate(4 * 32);
  try {
    device.launch("test_stack", 32, [out.pointer, distance]);
  } catch (error) {
    if (!(error instanceof CudaError)) throw error;
  }
  return device.control.report;
}

Deno.test({
  name: "emulator: a stack overflow is reported with its thread",
  ignore: !toolkit || !clang,
  fn: async () => {
    assertEquals(await reportOf(60_000), "");
    // Where the stack ends depends on the compiler; the steps are shorter than the mark there.
    let report = "";
    for (let distance = 64_000; report === "" && distance < 2 ** 16; distance += 100) report = await reportOf(distance);
    assertMatch(report, /^a stack overflow of thread 7 \[kernel test_stack\]$/);
  },
});
