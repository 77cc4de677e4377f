import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { CudaError } from "../../mod.ts";
import { toolkit } from "../toolkit.ts";
import { clang } from "./build.ts";
import { TestDevice } from "./device.ts";

const source = new URL("./selftest/memory.cu", import.meta.url);

function test(name: string, fn: (device: TestDevice) => void): void {
  Deno.test({
    name: `emulator: ${name}`,
    ignore: !toolkit || !clang,
    fn: async () => {
      using device = await TestDevice.open(source, 80);
      fn(device);
    },
  });
}

test("a kernel that reads freed memory is reported with its line, and one that reads live memory passes", (device) => {
  const [input, output] = [device.allocate(256), device.allocate(256)];
  input.write(Int32Array.from({ length: 64 }, (_, i) => i));
  const run = (pointer: bigint) => device.launch("test_copy", 64, [pointer, output.pointer]);
  const { pointer } = input;
  run(pointer);
  input[Symbol.dispose]();
  assertEquals(assertThrows(() => run(pointer), CudaError).code, 700);
  const line = Deno.readTextFileSync(source).split("\n").findIndex((line) => line.endsWith("// COPY")) + 1;
  assertStringIncludes(device.control.report, "of freed memory");
  assertStringIncludes(device.control.report, `memory.cu:${line}`);
});

test("a copy from freed memory and a double free fail", (device) => {
  const buffer = device.allocate(256);
  buffer.write(new Int32Array(64));
  device.download(buffer);
  const { pointer } = buffer;
  buffer[Symbol.dispose]();
  const { context, handle } = device.stream;
  const copy = () => context.call("cuMemcpyDtoHAsync_v2", new Int32Array(64), pointer, 256n, handle);
  assertThrows(copy, CudaError, "cuMemcpyDtoHAsync_v2 failed");
  assertStringIncludes(device.control.report, "a copy to the host: the device memory is freed");
  device.control.reset();
  assertThrows(() => context.call("cuMemFreeAsync", pointer, handle), CudaError);
  assertStringIncludes(device.control.report, "was freed before");
});

test("live objects are listed", (device) => {
  const before = device.control.live;
  const { context, handle } = device.stream;
  const leaked = context.handle("cuMemAllocAsync", 1000n, handle);
  assert(device.control.live !== before);
  assertMatch(device.control.live, /allocation/);
  context.call("cuMemFreeAsync", leaked, handle);
  assertEquals(device.control.live, before);
});

test("bank conflicts of ldmatrix and cp.async are counted, and a stride that avoids them counts none", (device) => {
  const input = device.upload(Int32Array.from({ length: 128 }, (_, i) => i));
  const conflicts = (stride: number) => {
    device.control.reset();
    const output = device.allocate(128);
    device.launch("test_rows", 32, [input, output.pointer, stride], { sharedBytes: 32 * stride });
    assertEquals([...device.download(output)], Array.from({ length: 32 }, (_, i) => i));
    const { bankConflicts, copyConflicts } = device.control.counters("test_rows");
    return [bankConflicts, copyConflicts];
  };
  // Rows with a stride of 128 bytes begin in the same bank: each of the four matrices needs eight passes instead of one.
  assertEquals(conflicts(128), [28, 28]);
  assertEquals(conflicts(64), [12, 12]);
  assertEquals(conflicts(16), [0, 0]);
  assertEquals(conflicts(144), [0, 0]);
});

test("copies of different instructions do not conflict, if some lanes leave one out", (device) => {
  device.control.reset();
  const output = device.allocate(128), input = device.upload(Int32Array.from({ length: 128 }, (_, i) => i));
  device.launch("test_uneven_copies", 32, [input, output.pointer], { sharedBytes: 1040 });
  assertEquals([...new Uint32Array(device.download(output).buffer)], Array.from({ length: 32 }, (_, i) => i * 4));
  assertEquals(device.control.counters("test_uneven_copies").copyConflicts, 0);
});
