import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { CudaError } from "../../mod.ts";
import { readCubin } from "../../cuda/cubin.ts";
import { Context } from "../../src/cuda/driver/context.ts";
import { Driver } from "../../src/cuda/driver/driver.ts";
import { Module } from "../../src/cuda/driver/module.ts";
import { Stream } from "../../src/cuda/driver/stream.ts";
import { toolkit } from "../toolkit.ts";
import { buildCubin, buildEmulator, clang } from "./build.ts";
import { Control } from "./control.ts";
import { TestDevice } from "./device.ts";

const source = new URL("./selftest/dependent_launch.cu", import.meta.url);
const lines = Deno.readTextFileSync(source).split("\n");
const ignore = !toolkit || !clang;

/** Launches a kernel after one that writes the first of three arrays. Returns the report of its fault. */
async function reportOf(kernel: string, args: (arrays: bigint[]) => (bigint | number)[]): Promise<string> {
  using device = await TestDevice.open(source, 90);
  const arrays = Array.from({ length: 3 }, () => device.upload(new Int32Array(32)));
  device.launch("test_first", 32, [arrays[0]!]);
  const launch = () => device.launch(kernel, 32, args(arrays));
  if (kernel === "test_right" || kernel === "test_without_wait") launch();
  else assertEquals(assertThrows(launch, CudaError).code, 719);
  return device.control.report;
}

const faults: readonly [kernel: string, marker: string, message: string][] = [
  ["test_early_read", "EARLY READ", "a read of memory that the kernel before has written before the thread has waited"],
  ["test_early_allow", "EARLY ALLOW", "the next kernel is allowed before this thread has waited"],
  ["test_early_write", "EARLY WRITE", "a write of global memory before the thread has waited"],
  ["test_other_thread", "OTHER THREAD", "before the thread has waited for the kernel before"],
];

for (const [kernel, marker, message] of faults) {
  Deno.test({
    name: `emulator: ${kernel} is reported with its line`,
    ignore,
    fn: async () => {
      const report = await reportOf(
        kernel,
        ([first, , out]) => kernel.endsWith("read") || kernel.endsWith("thread") ? [first!, out!] : [out!],
      );
      assertStringIncludes(report, message);
      const line = lines.findIndex((line) => line.endsWith(`// ${marker}`)) + 1;
      assertStringIncludes(report, `dependent_launch.cu:${line}`);
    },
  });
}

Deno.test({
  name:
    "emulator: a kernel may read what the kernel before does not write before it waits, and all of its blocks must wait",
  ignore,
  fn: async () => {
    assertEquals(await reportOf("test_right", ([first, weights, out]) => [weights!, first!, out!]), "");
    assertEquals(await reportOf("test_without_wait", ([, , out]) => [out!]), "");
    assertStringIncludes(
      await reportOf("test_no_work", ([, , out]) => [out!, 0]),
      "a block ended without having waited for the kernel before [kernel test_no_work]",
    );
  },
});

Deno.test({
  name: "emulator: a kernel without a wait must not overlap, and no kernel may before sm_90",
  ignore,
  fn: async () => {
    for (
      const [arch, kernel, message] of [
        [90, "test_without_wait", "a kernel that does not wait for the kernel before it must not overlap it"],
        [80, "test_first", "programmatic dependent launch requires sm_90"],
      ] as const
    ) {
      const { library } = await buildEmulator({ arch, sources: [source.pathname] });
      const control = new Control(library);
      control.reset();
      const image = await buildCubin(source.pathname, arch);
      const records = readCubin(image, arch).map((kernel) => ({
        ...{ ...kernel, waits: true, argumentsOffset: 0, argumentsBytes: 8 },
        fields: [{ name: "out", type: "pointer" as const, offset: 0, size: 8 }],
      }));
      using context = new Context(new Driver(library), 0);
      using module = new Module(context, image, records);
      using stream = new Stream(context);
      const launch = { kernel, blocks: 1, threads: 32, sharedBytes: 0, arguments: { out: 0n } };
      assertThrows(() => module.launch(stream, launch), CudaError);
      assertStringIncludes(control.report, message);
    }
  },
});
