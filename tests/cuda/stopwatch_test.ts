import { assert, assertEquals, assertRejects } from "@std/assert";
import { zeros } from "../../mod.ts";
import { toolkit } from "../toolkit.ts";
import { emulated, openEmulated } from "./emulated.ts";

function test(name: string, fn: (opened: Awaited<ReturnType<typeof openEmulated>>) => Promise<void>): void {
  Deno.test({
    name: `cuda, ${emulated}: ${name}`,
    ignore: !toolkit,
    fn: async () => {
      const opened = await openEmulated(80);
      using _backend = opened.backend;
      await fn(opened);
    },
  });
}

test("measure() holds the stream before the clock starts, and returns the host's time by itself", async (opened) => {
  const { backend, control } = opened;
  control.reset();
  const { result, ...times } = await backend.measure(async () => {
    const end = performance.now() + 3;
    while (performance.now() < end);
    return await backend.ops.full("f32", [2], 1);
  });
  result[Symbol.dispose]();
  const calls = control.log.filter((name) => /Launch|Event/.test(name));
  assertEquals(calls, [
    "cuLaunchKernelEx", // wait_for_host
    "cuEventRecord",
    "cuLaunchKernelEx",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuEventElapsedTime_v2",
  ]);
  assertEquals(control.counters("wait_for_host").launches, 1);
  assert(times.hostMilliseconds !== null && times.hostMilliseconds >= 3);
  assert(times.wallMilliseconds >= times.hostMilliseconds);
});

test("a function that fails or waits for the stream can be measured", async ({ backend }) => {
  await assertRejects(() => backend.measure(() => Promise.reject(new RangeError("of the function"))), RangeError, "of");
  const { result } = await backend.measure(async () => {
    using tensor = backend.upload(zeros("f32", [3]));
    await backend.synchronize();
    return await backend.download(tensor);
  });
  assertEquals([...result.data], [0, 0, 0]);
});

test("profile() measures each kernel of any calls, and keeps nothing", async ({ backend }) => {
  using source = await backend.ops.full("f32", [2, 3], 5);
  using indices = await backend.ops.full("i32", [4], 1);
  const before = backend.memory.liveBytes;
  const times = await backend.profile(async () => {
    using selected = await backend.ops.indexSelect(source, indices);
    return [await backend.ops.indexSelect(selected, indices)];
  });
  assertEquals(times.map(({ kernel }) => kernel), ["select_rows_4", "select_rows_4"]);
  assert(times.every(({ milliseconds }) => milliseconds >= 0));
  assertEquals(backend.memory.liveBytes, before);
  await assertRejects(() => backend.profile(() => backend.download(source)), TypeError, "Cannot download inside");
});
