import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { CudaError } from "../../mod.ts";
import { toolkit } from "../toolkit.ts";
import { clang } from "./build.ts";
import { TestDevice } from "./device.ts";
import { a, b, encoders } from "./operands.ts";

const source = new URL("./selftest/registers.cu", import.meta.url);
const sharedBytes = 2 * 32 * 128;

function operands(dtype: keyof typeof encoders): Uint32Array<ArrayBuffer> {
  const bits = Uint16Array.from({ length: 96 * 64 }, (_, i) => {
    const row = i >> 6, k = i & 63;
    return encoders[dtype](row < 64 ? a(row, k) : b(row - 64, k));
  });
  return new Uint32Array(bits.buffer);
}

for (const dtype of ["f16", "bf16"] as const) {
  Deno.test({
    name: `emulator sm_90: wgmma in ${dtype} multiplies an operand in registers`,
    ignore: !toolkit,
    fn: async () => {
      using device = await TestDevice.open(source, 90);
      const out = device.allocate(64 * 32 * 4);
      const args = [device.upload(operands(dtype)), out.pointer];
      device.launch(`test_registers_${dtype}`, 128, args, { sharedBytes });
      const expected = Float32Array.from({ length: 64 * 32 }, (_, i) => {
        let sum = 0;
        for (let k = 0; k < 64; k++) sum += a(i >> 5, k) * b(i & 31, k);
        return sum;
      });
      assertEquals(new Float32Array(device.download(out).buffer), expected);
    },
  });
}

const faults: Record<string, string> = {
  fault_registers_changed_in_flight: "the registers of an operand changed while the product was in flight",
  fault_stage_overwritten_while_a_group_is_pending: "while wgmma reads it",
};

for (const [kernel, text] of Object.entries(faults)) {
  Deno.test({
    name: `emulator sm_90: ${kernel} is reported with a place, and its repaired variant passes`,
    ignore: !toolkit || !clang,
    fn: async () => {
      using device = await TestDevice.open(source, 90);
      const input = device.upload(operands("f16"));
      const out = device.allocate(512).pointer;
      const run = (fixed: number) => device.launch(kernel, 128, [input, out, fixed], { sharedBytes });
      run(1);
      const error = assertThrows(() => run(0), CudaError);
      assert(error.poisoned);
      assertStringIncludes(device.control.report, text);
      assertStringIncludes(device.control.report, "registers.cu:");
      assertStringIncludes(device.control.report, `[kernel ${kernel}`);
    },
  });
}
