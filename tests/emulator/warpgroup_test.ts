import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { CudaError } from "../../mod.ts";
import { toolkit } from "../toolkit.ts";
import { clang } from "./build.ts";
import { TestDevice } from "./device.ts";
import { a, b, encoders } from "./operands.ts";

const source = new URL("./selftest/warpgroup.cu", import.meta.url);
const sharedBytes = (64 + 192) * 128 + 16;

function operands(dtype: keyof typeof encoders, across: boolean): Uint32Array<ArrayBuffer> {
  const bits = new Uint16Array(256 * 64);
  for (let k = 0; k < 64; k++) {
    for (let m = 0; m < 64; m++) bits[across ? k * 64 + m : m * 64 + k] = encoders[dtype](a(m, k));
    for (let n = 0; n < 192; n++) bits[64 * 64 + n * 64 + k] = encoders[dtype](b(n, k));
  }
  return new Uint32Array(bits.buffer);
}

for (const dtype of ["f16", "bf16"] as const) {
  for (const across of [false, true]) {
    const kernel = `test_wgmma_${dtype}${across ? "_across" : ""}`;
    Deno.test({
      name: `emulator sm_90: ${kernel} multiplies`,
      ignore: !toolkit,
      fn: async () => {
        using device = await TestDevice.open(source, 90);
        const out = device.allocate(64 * 192 * 4);
        device.launch(kernel, 256, [device.upload(operands(dtype, across)), out.pointer], { sharedBytes });
        const got = new Float32Array(device.download(out).buffer);
        for (let m = 0; m < 64; m++) {
          for (let n = 0; n < 192; n++) {
            let sum = 0;
            for (let k = 0; k < 64; k++) sum += a(m, k) * b(n, k);
            assertEquals(got[m * 192 + n], sum, `row ${m}, column ${n}`);
          }
        }
      },
    });
  }
}

const faults: Record<string, string> = {
  fault_no_wait_for_full: "which no thread has written",
  fault_no_fence_of_the_async_proxy: "with no fence of the async proxy",
  fault_no_wait_for_empty: "deadlock", // the second round of copies completes a phase that no thread has observed
  fault_released_before_it_is_read: "while wgmma reads it",
  fault_products_in_flight_at_the_end: "products of wgmma in flight",
  fault_mbarrier_without_initialisation: "is not an mbarrier",
  fault_mbarrier_initialised_without_barrier: "with no barrier since thread 0 initialised it",
  fault_written_over_an_mbarrier: "which is part of an mbarrier",
  fault_mbarrier_initialised_twice: "an mbarrier is initialised twice",
};

for (const [kernel, text] of Object.entries(faults)) {
  Deno.test({
    name: `emulator sm_90: ${kernel} is reported with a place, and its repaired variant passes`,
    ignore: !toolkit || !clang,
    fn: async () => {
      using device = await TestDevice.open(source, 90);
      const input = device.upload(operands("f16", false));
      const run = (fixed: number) =>
        device.launch(kernel, 256, [input, device.allocate(1024).pointer, fixed], { sharedBytes });
      run(1);
      const error = assertThrows(() => run(0), CudaError);
      assert(error.poisoned);
      assertStringIncludes(device.control.report, text);
      assertStringIncludes(device.control.report, "warpgroup.cu:");
      assertStringIncludes(device.control.report, `[kernel ${kernel}`);
    },
  });
}
