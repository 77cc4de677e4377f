// Freed blocks of device memory that serve later allocations.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { CudaError } from "../../mod.ts";
import { MemoryCounter } from "../../src/backend/memory_counter.ts";
import { openCudaBackend } from "../../src/cuda/backend.ts";
import { Context } from "../../src/cuda/driver/context.ts";
import { Driver } from "../../src/cuda/driver/driver.ts";
import { DeviceBuffer } from "../../src/cuda/driver/memory.ts";
import { Stream } from "../../src/cuda/driver/stream.ts";
import { Control } from "../emulator/control.ts";
import { testLifetimes } from "../lifetime_suite.ts";
import { toolkit } from "../toolkit.ts";
import { buildProduct, emulated } from "./emulated.ts";

/** A stream that keeps freed blocks, the emulated driver, and a counter of its calls. */
interface Opened {
  readonly control: Control;
  readonly stream: Stream;
  allocate(bytes: number): DeviceBuffer;
  /** Returns how often driver functions with this name were called since the last question. */
  count(api: string): number;
}

function test(name: string, fn: (opened: Opened) => void): void {
  Deno.test({
    name: `stream memory: ${name}`,
    ignore: !toolkit,
    fn: async () => {
      const { library } = await buildProduct(80);
      const control = new Control(library);
      control.reset();
      {
        using context = new Context(new Driver(library), 0);
        using stream = new Stream(context, { keepsFreed: true });
        const counter = new MemoryCounter();
        const seen: Record<string, number> = {};
        fn({
          control,
          stream,
          allocate: (bytes) => new DeviceBuffer(stream, bytes, counter),
          count(api) {
            const before = seen[api] ?? 0;
            seen[api] = control.log.filter((call) => call === api).length;
            return seen[api] - before;
          },
        });
        assertEquals(counter.liveBytes, 0);
      }
      assertEquals(control.live, "", "not freed");
    },
  });
}

test("a freed block serves the next allocation of its size", ({ allocate, count }) => {
  const pointers = new Set<bigint>();
  for (let i = 0; i < 5; i++) {
    using large = allocate(2000), small = allocate(1000), empty = allocate(0);
    for (const { pointer } of [large, small, empty]) pointers.add(pointer);
  }
  assertEquals([pointers.size, count("cuMemAllocAsync"), count("cuMemFreeAsync")], [3, 3, 0]);
  using a = allocate(1000), b = allocate(1000);
  assert(a.pointer !== b.pointer);
});

test("large blocks are freed at once, and old sizes if there are too many bytes", ({ allocate, count }) => {
  allocate(2 ** 24 + 1)[Symbol.dispose]();
  assertEquals(count("cuMemFreeAsync"), 1);
  for (let i = 0; i < 4; i++) allocate(2 ** 24 - i)[Symbol.dispose]();
  assertEquals(count("cuMemFreeAsync"), 0);
  allocate(100)[Symbol.dispose](); // 64 MiB, less 6 bytes, and these
  assertEquals(count("cuMemFreeAsync"), 1);
  count("cuMemAllocAsync");
  allocate(2 ** 24 - 1)[Symbol.dispose]();
  assertEquals(count("cuMemAllocAsync"), 0);
  allocate(2 ** 24)[Symbol.dispose](); // the oldest, which was freed
  assertEquals(count("cuMemAllocAsync"), 1);
});

test("free blocks are released if the device is out of memory", ({ control, allocate, count }) => {
  control.memory = 1000;
  allocate(600)[Symbol.dispose]();
  {
    using other = allocate(700);
    assertEquals([other.bytes, count("cuMemFreeAsync")], [700, 1]);
    assertThrows(() => allocate(600), CudaError, "the GPU is out of memory");
  }
  using whole = allocate(1000);
  assertEquals(whole.bytes, 1000);
});

test("memory that outlives its stream is freed", ({ stream, allocate, count }) => {
  const kept = allocate(1000), freed = allocate(2000);
  freed[Symbol.dispose]();
  stream[Symbol.dispose]();
  assertEquals(count("cuMemFreeAsync"), 1);
  kept[Symbol.dispose]();
  assertEquals(count("cuMemFreeAsync"), 1);
});

testLifetimes(`cuda that keeps freed memory, ${emulated}`, async () => {
  const { library } = await buildProduct(80);
  new Control(library).reset();
  return await openCudaBackend({ library });
}, { ignore: !toolkit, cases: 50 });
