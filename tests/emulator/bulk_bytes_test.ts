import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { CudaError } from "../../mod.ts";
import { toolkit } from "../toolkit.ts";
import { clang } from "./build.ts";
import { TestDevice } from "./device.ts";

const source = new URL("./selftest/bulk_bytes.cu", import.meta.url);
const sharedBytes = 16 + 512;

Deno.test({
  name: "emulator sm_90: a bulk copy of consecutive bytes delivers them",
  ignore: !toolkit,
  fn: async () => {
    using device = await TestDevice.open(source, 90);
    const words = Uint32Array.from({ length: 100 }, (_, i) => i * 0x01010101);
    const out = device.allocate(400);
    device.launch("test_bulk_bytes", 64, [device.upload(words), out.pointer, 400], { sharedBytes });
    assertEquals(new Uint32Array(device.download(out).buffer), words);
  },
});

const faults: Record<string, readonly [code: number, text: string]> = {
  fault_bulk_bytes_misaligned: [716, "both must be multiples of 16"],
  fault_bulk_bytes_misaligned_in_shared: [716, "which must be a multiple of 16"],
  fault_bulk_bytes_of_odd_size: [716, "both must be multiples of 16"],
  fault_bulk_bytes_out_of_bounds: [700, "out-of-bounds"],
  fault_bulk_bytes_past_shared: [700, "past dynamic shared memory"],
  fault_bulk_bytes_over_mbarrier: [719, "a bulk copy overwrites the mbarrier at"],
  fault_bulk_bytes_unfenced_write: [719, "has written with no fence of the async proxy since"],
  fault_bulk_bytes_unfenced_read: [719, "has read with no fence of the async proxy since"],
};

for (const [kernel, [code, text]] of Object.entries(faults)) {
  Deno.test({
    name: `emulator sm_90: ${kernel} is reported, and its repaired variant passes`,
    ignore: !toolkit || !clang,
    fn: async () => {
      using device = await TestDevice.open(source, 90);
      const input = device.upload(new Uint32Array(128));
      const run = (fixed: number) => device.launch(kernel, 64, [input, fixed], { sharedBytes });
      run(1);
      const error = assertThrows(() => run(0), CudaError);
      assertEquals([error.code, error.poisoned], [code, true]);
      assertStringIncludes(device.control.report, text);
      assertStringIncludes(device.control.report, `[kernel ${kernel}`);
    },
  });
}
