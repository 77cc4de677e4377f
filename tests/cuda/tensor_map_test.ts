import { assert, assertEquals, assertThrows } from "@std/assert";
import { CudaError } from "../../mod.ts";
import { Context } from "../../src/cuda/driver/context.ts";
import { Driver } from "../../src/cuda/driver/driver.ts";
import { encodeTensorMap, type TensorMapOptions } from "../../src/cuda/driver/tensor_map.ts";
import { buildCubin, buildEmulator } from "../emulator/build.ts";
import { Control } from "../emulator/control.ts";
import { TestDevice } from "../emulator/device.ts";
import { readCubin } from "../../cuda/cubin.ts";
import { toolkit } from "../toolkit.ts";

const source = new URL("../emulator/selftest/bulk_copy.cu", import.meta.url);

function test(name: string, fn: (context: Context, control: Control) => void, arch = 90): void {
  Deno.test({
    name: `tensor map: ${name}`,
    ignore: !toolkit,
    fn: async () => {
      // The call does not need a kernel, and kernels with bulk copies need Hopper.
      const memory = new URL("../emulator/selftest/memory.cu", import.meta.url);
      const { library } = await buildEmulator({ arch, sources: [memory.pathname] });
      const control = new Control(library);
      control.reset();
      {
        using context = new Context(new Driver(library), 0);
        fn(context, control);
      }
      control.reset();
      assertEquals(control.live, "");
    },
  });
}

const good: TensorMapOptions = {
  ...{ dtype: "f16", pointer: 4096n, sizes: [2880, 5760, 32], strides: [5760, 5760 * 5760], box: [64, 192, 1] },
  swizzle: 128,
};

test("it has 128 bytes, equal for equal tensors and different for different ones", (context) => {
  const map = encodeTensorMap(context, good);
  assertEquals(map.length, 128);
  assertEquals(encodeTensorMap(context, good), map);
  const others: Partial<TensorMapOptions>[] = [
    { pointer: 4112n },
    { sizes: [2880, 5761, 32] },
    { sizes: [2880, 5760, 2 ** 32] },
    { strides: [5760, 2 ** 40 - 16] },
    { box: [64, 256, 1] },
    { dtype: "f32", box: [32, 192, 1] },
    { swizzle: 0 },
    { swizzle: 0, box: [256, 192, 1] },
    { swizzle: 64, box: [32, 192, 1] },
  ];
  const maps = others.map((other) => encodeTensorMap(context, { ...good, ...other }).toHex());
  assertEquals(new Set([...maps, map.toHex()]).size, others.length + 1);
});

test("invalid options are reported by name", (context, control) => {
  const wrong: [change: Partial<TensorMapOptions>, message: string][] = [
    [{ pointer: 0n }, "pointer of a tensor map must be a device pointer that is a multiple of 16, got 0n"],
    [{ pointer: 4104n }, "pointer of a tensor map must be a device pointer that is a multiple of 16, got 4104n"],
    [{ sizes: [] }, "sizes of a tensor map must be 1 to 5 integers from 1 to 2^32, got []"],
    [{ sizes: [8, 8, 8, 8, 8, 8] }, "sizes of a tensor map must be 1 to 5 integers"],
    [{ sizes: [2880, 0, 32] }, "sizes of a tensor map must be 1 to 5 integers from 1 to 2^32, got [ 2880, 0, 32 ]"],
    [{ sizes: [2880, 2 ** 32 + 1, 32] }, "sizes of a tensor map must be"],
    [{ sizes: [2880, 1.5, 32] }, "sizes of a tensor map must be"],
    [{ strides: [5760] }, "strides of a tensor map must be 2 multiples of 16 from 0 to 2^40 - 1, got [ 5760 ]"],
    [{ strides: [5768, 16] }, "strides of a tensor map must be 2 multiples of 16"],
    [{ strides: [16, 2 ** 40] }, "strides of a tensor map must be 2 multiples of 16"],
    [{ strides: [-16, 16] }, "strides of a tensor map must be 2 multiples of 16"],
    [{ box: [64, 192] }, "box of a tensor map must be 3 integers from 1 to 256, got [ 64, 192 ]"],
    [{ box: [64, 257, 1] }, "box of a tensor map must be 3 integers from 1 to 256"],
    [{ box: [64, 0, 1] }, "box of a tensor map must be 3 integers from 1 to 256"],
    [{ box: [60, 1, 1] }, "box[0] of a tensor map must be a multiple of 8 elements up to 64, got 60"],
    [{ box: [72, 1, 1] }, "box[0] of a tensor map must be a multiple of 8 elements up to 64, got 72"],
    [{ box: [40, 1, 1], swizzle: 64 }, "box[0] of a tensor map must be a multiple of 8 elements up to 32, got 40"],
    [{ box: [36, 1, 1], dtype: "f32" }, "box[0] of a tensor map must be a multiple of 4 elements up to 32, got 36"],
    [{ swizzle: 96 as 64 }, "swizzle of a tensor map must be 0, 32, 64 or 128, got 96"],
  ];
  for (const [change, message] of wrong) {
    const calls = control.calls;
    assertThrows(() => encodeTensorMap(context, { ...good, ...change }), RangeError, message);
    assertEquals(control.calls, calls, "the driver was called");
  }
});

test("the emulated driver refuses what cuda.h forbids", (context, control) => {
  const memory = new Uint8Array(new ArrayBuffer(256));
  const past = Number(context.driver.addressOf(memory) % 64n);
  const aligned = memory.subarray(64 - past);
  const call = (change: Record<string, unknown>) => {
    const { map, type, rank, address, sizes, strides, box, steps, interleave, swizzle, promotion, fill } = {
      ...{ map: aligned, type: 6, rank: 3, address: 4096n, sizes: [2880n, 5760n, 32n], strides: [5760n, 33177600n] },
      ...{ box: [64, 192, 1], steps: [1, 1, 1], interleave: 0, swizzle: 3, promotion: 2, fill: 0 },
      ...change,
    };
    context.call(
      "cuTensorMapEncodeTiled",
      ...[map, type, rank, address, BigUint64Array.from(sizes), BigUint64Array.from(strides)] as const,
      ...[Uint32Array.from(box), Uint32Array.from(steps), interleave, swizzle, promotion, fill] as const,
    );
  };
  call({});
  call({ rank: 1, swizzle: 0 });
  const wrong: [change: Record<string, unknown>, reason: string][] = [
    [{ map: memory.subarray(64 - past + 16) }, "its address must be a multiple of 64"],
    [{ rank: 0 }, "the number of dimensions must be from 1 to 5"],
    [{ rank: 6 }, "the number of dimensions must be from 1 to 5"],
    [{ address: 4104n }, "the address must be a multiple of 16"],
    [{ sizes: [2880n, 0n, 32n] }, "a size must be from 1 to 2^32"],
    [{ sizes: [2880n, 2n ** 32n + 1n, 32n] }, "a size must be from 1 to 2^32"],
    [{ strides: [5768n, 33177600n] }, "a stride must be a multiple of 16 below 2^40"],
    [{ strides: [5760n, 2n ** 40n] }, "a stride must be a multiple of 16 below 2^40"],
    [{ box: [64, 0, 1] }, "a size of the box must be from 1 to 256"],
    [{ box: [64, 257, 1] }, "a size of the box must be from 1 to 256"],
    [{ box: [60, 1, 1] }, "the rows of the box must be a multiple of 16 bytes"],
    [{ box: [72, 1, 1] }, "the rows of the box are longer than the swizzle"],
    [{ box: [40, 1, 1], swizzle: 2 }, "the rows of the box are longer than the swizzle"],
    [{ steps: [1, 0, 1] }, "an element stride must be from 1 to 8"],
    [{ steps: [1, 9, 1] }, "an element stride must be from 1 to 8"],
    [{ steps: [1, 2, 1] }, "this element stride is not emulated"],
    [{ type: 8 }, "this data type is not emulated"],
    [{ interleave: 1 }, "this interleaving is not emulated"],
    [{ swizzle: 4 }, "this swizzling is not emulated"],
    [{ promotion: 4 }, "an unknown promotion"],
    [{ fill: 1 }, "this fill is not emulated"],
  ];
  for (const [change, reason] of wrong) {
    const error = assertThrows(() => call(change), CudaError);
    assertEquals([error.api, error.code, error.poisoned], ["cuTensorMapEncodeTiled", 1, false], reason);
    assertEquals(control.report, `a tensor map: ${reason}`);
  }
  call({});
});

test("a failure of the driver is a CudaError, and the next call works", (context, control) => {
  encodeTensorMap(context, good);
  control.fail(1, 0);
  encodeTensorMap(context, good);
  const { calls } = control;
  for (let call = 1; call <= calls; call++) {
    control.fail(call, 1);
    const error = assertThrows(() => encodeTensorMap(context, good), CudaError);
    assertEquals([error.api, error.code], [control.failedCall, 1]);
    control.fail(0, 0);
    encodeTensorMap(context, good);
  }
  assert(control.log.includes("cuTensorMapEncodeTiled"));
});

test("a GPU before Hopper does not support it", (context, control) => {
  assertThrows(() => encodeTensorMap(context, good), CudaError, "cuTensorMapEncodeTiled failed");
  assertEquals(control.report, "a tensor map: the GPU does not support tensor maps");
}, 80);

Deno.test({
  name: "tensor map: the cubin aligns it to 64 bytes in the parameter memory, which begins at 0x210",
  ignore: !toolkit,
  fn: async () => {
    const records = readCubin(await buildCubin(source.pathname, 90), 90);
    const { parameters } = records.find(({ name }) => name === "fault_bulk_no_wait")!;
    assertEquals(parameters.map(({ size }) => size), [128, 128, 8, 8, 4]);
    assertEquals(parameters.slice(0, 2).map(({ offset }) => (0x210 + offset) % 64), [0, 0]);
    using device = await TestDevice.open(source, 90);
    assertThrows(
      () => device.launch("test_bulk_known", 64, [1n, 0n, 0], { sharedBytes: 4096 }),
      TypeError,
      "Cannot launch test_bulk_known: the argument 0 must be a tensor map (128 bytes), got 1n",
    );
  },
});
