import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { CudaError } from "../../mod.ts";
import { toolkit } from "../toolkit.ts";
import { clang } from "./build.ts";
import { TestDevice } from "./device.ts";

const source = new URL("./selftest/faults.cu", import.meta.url);
const lines = Deno.readTextFileSync(source).split("\n");

/** The driver's status and the text of the report, by kernel. */
const expected: Record<string, [code: number, text: string, sharedBytes?: number]> = {
  fault_global_out_of_bounds: [700, "out-of-bounds"],
  fault_null_pointer: [700, "which is not a device address"],
  fault_global_misaligned: [716, "misaligned"],
  fault_global_unwritten: [719, "that was never written"],
  fault_global_race_in_block: [719, "a race"],
  fault_global_race_across_blocks: [719, "a race"],
  fault_shared_out_of_bounds: [700, "past dynamic shared memory", 256],
  fault_shared_unwritten: [719, "which no thread has written"],
  fault_missing_barrier: [719, "a race"],
  fault_missing_second_barrier: [719, "a race"],
  fault_static_shared_race: [719, "a race"],
  fault_missing_syncwarp: [719, "a race"],
  fault_shuffle_is_no_fence: [719, "a race"],
  fault_divergent_barrier: [719, "barrier divergence"],
  fault_barrier_after_exit: [719, "have exited"],
  fault_lane_not_in_mask: [719, "lacks the calling lane"],
  fault_missing_lane: [719, "a lane exits while other lanes wait"],
  fault_shuffle_from_outside: [719, "which is not in the mask"],
  fault_divergent_collective: [719, "warp divergence"],
  fault_missing_copy_wait: [719, "asynchronous copy"],
  fault_copy_wait_too_few: [719, "asynchronous copy"],
  fault_copy_misaligned: [716, "a misaligned address"],
  fault_copy_wait_is_no_barrier: [719, "a race"],
  fault_array_out_of_bounds: [700, "an array index out of bounds"],
  fault_offset_of_null: [700, "which is not a device address"],
  fault_division_by_zero: [719, "an integer division by zero"],
  fault_ldmatrix_unwritten: [719, "which no thread has written"],
};

const kernels = lines.flatMap((line) => line.match(/^FAULTY\((\w+)\)/)?.[1] ?? []);

Deno.test("every kernel of faults.cu is tested", () => assertEquals(kernels.sort(), Object.keys(expected).sort()));

for (const [kernel, [code, text, sharedBytes = 512]] of Object.entries(expected)) {
  const run = (device: TestDevice, fixed: number) => {
    const input = device.upload(Int32Array.from({ length: 64 }, (_, i) => i));
    const output = device.allocate(256);
    const blocks = kernel.includes("across_blocks") ? 2 : 1;
    device.launch(kernel, blocks === 2 ? 32 : 64, [input, output.pointer, fixed], { blocks, sharedBytes });
    return device.download(output);
  };
  Deno.test({
    name: `emulator: ${kernel} is reported with its line, and its repaired variant passes`,
    ignore: !toolkit || !clang,
    fn: async () => {
      using device = await TestDevice.open(source, 80);
      assert(device.control.checked);
      assertEquals(run(device, 1).length, 64);
      const error = assertThrows(() => run(device, 0), CudaError);
      assertEquals([error.code, error.poisoned], [code, true]);
      assertStringIncludes(device.control.report, text);
      const { report } = device.control;
      const marked = lines.flatMap((line, i) => line.endsWith(`// FAULT ${kernel}`) ? [`faults.cu:${i + 1}`] : []);
      assert(marked.some((place) => report.includes(place)), `${report} names none of ${marked}`);
      assertStringIncludes(device.control.report, `[kernel ${kernel}, block (`);
    },
  });
}

Deno.test({
  name: "emulator: a launch that exceeds the limit of steps is stopped as endless",
  ignore: !toolkit || !clang,
  fn: async () => {
    using device = await TestDevice.open(source, 80);
    const run = () => {
      const input = device.upload(new Int32Array(64));
      device.launch("fault_null_pointer", 64, [input, device.allocate(256).pointer, 1]);
    };
    device.control.limitSteps(0); // resets the maximum of earlier launches
    run();
    const steps = device.control.limitSteps(0);
    device.control.limitSteps(steps);
    run();
    device.control.limitSteps(steps - 1);
    assertEquals(assertThrows(run, CudaError).code, 702);
    assertStringIncludes(device.control.report, `more than ${steps - 1} accesses`);
    device.control.reset();
  },
});
