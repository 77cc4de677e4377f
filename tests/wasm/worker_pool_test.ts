import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { createContext } from "../../src/wasm/context.ts";
import { wasmDType } from "../../src/wasm/elements.ts";
import { kernelModule } from "../../src/wasm/module.ts";
import { WorkerPool } from "../../src/wasm/worker_pool.ts";

const job = (values: Float16Array) => ({
  next: new Int32Array(new SharedArrayBuffer(4)),
  dtype: wasmDType("f16"),
  values: new Uint16Array(values.buffer),
  chunk: 4,
  results: new Float64Array(new SharedArrayBuffer(Math.ceil(values.length / 4) * 32)),
});

Deno.test("WorkerPool runs a task on all workers and resolves when all are done", async () => {
  using pool = new WorkerPool(3);
  const statistics = job(Float16Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10));
  await pool.run("statistics", statistics);
  assertEquals([...statistics.results], [10, 10, 1, 4, 26, 26, 5, 8, 19, 19, 9, 10]);
});

Deno.test("WorkerPool rejects the run of a task that throws, and the next run works", async () => {
  using pool = new WorkerPool(2);
  const broken = { ...job(Float16Array.of(1, 2, 3, 4)), values: null as unknown as Uint16Array };
  const other = pool.run("statistics", broken);
  await assertRejects(() => pool.run("statistics", broken), Error, "A worker failed: TypeError");
  await assertRejects(() => other, Error, "A worker failed: TypeError");
  const statistics = job(Float16Array.of(1, 2, 3));
  await pool.run("statistics", statistics);
  assertEquals([...statistics.results], [6, 6, 1, 3]);
});

Deno.test("WorkerPool rejects the current runs when it is disposed, and a second disposal does nothing", async () => {
  const pool = new WorkerPool(1);
  const run = pool.run("statistics", job(Float16Array.of(1, 2, 3, 4)));
  pool[Symbol.dispose]();
  pool[Symbol.dispose]();
  await assertRejects(() => run, Error, "closed before the call ended");
  await assertRejects(() => pool.run("statistics", job(Float16Array.of(1))), Error, "The worker pool is closed");
});

Deno.test("WorkerPool rejects a run whose onTick throws, and calls onTick no more", async () => {
  using pool = new WorkerPool(2);
  const values = new Float16Array(new SharedArrayBuffer(2 ** 28));
  const slow = () => ({
    ...job(values),
    chunk: 2 ** 10,
    results: new Float64Array(new SharedArrayBuffer(2 ** 17 * 32)),
  });
  let calls = 0;
  const onTick = () => {
    calls += 1;
    throw new Error("from the callback");
  };
  const started = performance.now();
  await assertRejects(() => pool.run("statistics", slow(), onTick), Error, "from the callback");
  assert(performance.now() - started >= 100 && calls === 1, `${calls} calls`);
  await pool.run("statistics", slow());
});

Deno.test("A program that does not dispose its pool ends", async () => {
  const url = new URL("../../src/wasm/worker_pool.ts", import.meta.url);
  const config = new URL("../../deno.json", import.meta.url);
  const script = `const { WorkerPool } = await import("${url}");
    const pool = new WorkerPool(2);
    const bytes = (size) => new Uint8Array(new SharedArrayBuffer(size));
    const job = () => ({ next: new Int32Array(1), source: bytes(8), target: bytes(8), chunk: 8 });
    await pool.run("stream", job());
    console.log("done");`;
  const { stdout, code } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", `--config=${config.pathname}`, "--no-check", script],
    signal: AbortSignal.timeout(60_000),
  }).output();
  assertEquals([new TextDecoder().decode(stdout), code], ["done\n", 0]);
});

Deno.test("WorkerPool refuses a bad number of threads", () => {
  for (const threads of [0, -1, 1.5, NaN, 1025]) {
    assertThrows(
      () => new WorkerPool(threads),
      RangeError,
      `threads must be an integer from 1 to 1024, got ${threads}`,
    );
  }
});

Deno.test("A context refuses more memory than a worker can have", () => {
  const context = createContext(kernelModule());
  const message = "Cannot allocate 5368766464 bytes for a worker: out of memory";
  assertThrows(() => context.allocate({ a: 5 * 2 ** 30 }), RangeError, message);
  assertEquals(context.allocate({ a: 64, b: 64 }), { a: 57344, b: 57408 });
});

Deno.test("The areas of a context begin after the kernels' own buffers", () => {
  const context = createContext(kernelModule());
  const piece = 8192; // of `stage`
  assert(context.kernels.buffersEnd() <= context.allocate({ a: 64 }).a - piece);
});

Deno.test("stageRows() copies rows of any length, at any distance", () => {
  const context = createContext(kernelModule());
  for (const length of [3, 1000, 2048, 4095, 4096, 9000]) {
    for (const gap of [0, 64]) {
      const rows = 5, stride = 2 * length + gap;
      const source = Uint16Array.from({ length: rows * length + 7 }, (_, i) => i);
      const { to } = context.allocate({ before: 64, to: rows * stride });
      context.stageRows(source, 7, rows, length, to, stride);
      for (let r = 0; r < rows; r++) {
        const from = (to + r * stride) / 2;
        assertEquals(context.u16.slice(from, from + length), source.slice(7 + r * length, 7 + (r + 1) * length));
      }
    }
  }
});
