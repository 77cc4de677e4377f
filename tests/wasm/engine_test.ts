import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { dtypeCode } from "../../src/wasm/elements.ts";
import { Engine } from "../../src/wasm/engine.ts";

const job = (values: Float16Array) => ({
  next: new Int32Array(new SharedArrayBuffer(4)),
  dtype: dtypeCode("f16"),
  values: new Uint16Array(values.buffer),
  chunk: 4,
  results: new Float64Array(new SharedArrayBuffer(Math.ceil(values.length / 4) * 32)),
});

Deno.test("Engine runs a task on all workers and resolves when all are done", async () => {
  using engine = new Engine(3);
  const statistics = job(Float16Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10));
  await engine.run("statistics", statistics);
  assertEquals([...statistics.results], [10, 10, 1, 4, 26, 26, 5, 8, 19, 19, 9, 10]);
});

Deno.test("Engine rejects the run of a task that throws, and every later one", async () => {
  using engine = new Engine(2);
  const broken = { ...job(Float16Array.of(1, 2, 3, 4)), values: null as unknown as Uint16Array };
  await assertRejects(() => engine.run("statistics", broken), Error, "A worker failed: TypeError");
  await assertRejects(() => engine.run("statistics", job(Float16Array.of(1))), Error, "A worker failed");
});

Deno.test("Engine rejects what is under way when it is closed, and closing twice is no error", async () => {
  const engine = new Engine(1);
  const run = engine.run("statistics", job(Float16Array.of(1, 2, 3, 4)));
  engine[Symbol.dispose]();
  engine[Symbol.dispose]();
  await assertRejects(() => run, Error, "The engine is closed");
});

Deno.test("Engine refuses a bad number of threads", () => {
  for (const threads of [0, -1, 1.5, NaN, 1025]) {
    assertThrows(() => new Engine(threads), RangeError, `threads must be an integer from 1 to 1024, got ${threads}`);
  }
});
