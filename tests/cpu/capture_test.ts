import { assertEquals, assertRejects } from "@std/assert";
import { openBackend } from "../../mod.ts";
import { testCapture } from "../capture_suite.ts";

const open = () => openBackend("cpu", { threads: 2, blas: "none" });

testCapture("cpu", open);

Deno.test("cpu: a replay refuses other results than those of the captured function", async () => {
  using backend = await open();
  let rows = 1;
  using captured = await backend.capture(() => backend.ops.full("f32", [rows++, 2], 1));
  await assertRejects(
    () => captured.replay(),
    TypeError,
    "the captured function returned [2, 2] of f32, but [1, 2] of f32 when it was captured",
  );
});

Deno.test("cpu: captured calls that are disposed while they run end first", async () => {
  using backend = await open();
  const captured = await backend.capture(() => backend.ops.full("f32", [1, 2], 1));
  const running = [captured.replay(), captured.replay()];
  captured[Symbol.dispose]();
  await Promise.all(running);
  assertEquals(backend.memory.liveBytes, 0);
});
