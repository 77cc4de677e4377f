import { assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { CudaError } from "../../mod.ts";
import { testCapture } from "../capture_suite.ts";
import { toolkit } from "../toolkit.ts";
import { emulated, openEmulated } from "./emulated.ts";

testCapture(`cuda, ${emulated}, sm_80`, async () => (await openEmulated(80)).backend, !toolkit);

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name: `cuda, ${emulated}: ${name}`, ignore: !toolkit, fn });
}

test("a replay is one launch of a graph", async () => {
  const { backend: opened, control } = await openEmulated(80);
  using backend = opened;
  using captured = await backend.capture(async () => {
    using zeros = await backend.ops.full("f32", [2, 3], 0);
    using indices = await backend.ops.full("i32", [4], 1);
    return await backend.ops.indexSelect(zeros, indices);
  });
  control.reset();
  await captured.replay();
  assertEquals(control.log, ["cuCtxSetCurrent", "cuGraphLaunch"]);
});

test("a capture that the driver refuses leaves nothing behind", async () => {
  const { backend: opened, control } = await openEmulated(80);
  using backend = opened;
  const run = () => backend.ops.full("f32", [2, 3], 3);
  control.reset();
  using _captured = await backend.capture(run);
  const { calls } = control;
  let reported = 0;
  for (let call = 1; call <= calls; call++) {
    const before = backend.memory.liveBytes;
    control.fail(call, 1);
    const failure = await backend.capture(run).then(
      (captured) => captured[Symbol.dispose](),
      (error: unknown) => error,
    );
    control.fail(0, 0);
    if (failure !== undefined) {
      assertInstanceOf(failure, CudaError);
      reported += 1;
    }
    assertEquals(backend.memory.liveBytes, before, `call ${call}`);
    using next = await backend.capture(run);
    assertEquals((await backend.download(next.result)).data[5], 3);
  }
  assertEquals(reported, calls - 2, "all calls except for those that free the template of the graph");
});

test("captured calls outlive the backend without an error", async () => {
  const { backend, control } = await openEmulated(80);
  const captured = await backend.capture(() => backend.ops.full("f32", [2, 3], 3));
  backend[Symbol.dispose]();
  await assertRejects(() => captured.replay(), TypeError, "disposed");
  captured[Symbol.dispose]();
  assertEquals(control.live, "");
});
