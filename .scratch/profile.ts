import { openCudaBackend } from "../src/cuda/backend.ts";
import { Engine } from "../src/wasm/engine.ts";
import { drawInputs, makeJob } from "../src/workload.ts";
using engine = new Engine();
using backend = await openCudaBackend();
const t = performance.now();
const job = makeJob((Deno.args[0] ?? "reference") as "reference", Deno.args[1] ? JSON.parse(Deno.args[1]) : {});
using w = await drawInputs(job, backend, engine);
await backend.synchronize();
console.log("inputs", ((performance.now() - t) / 1000).toFixed(2), "s", backend.memory.liveBytes / 2 ** 20, "MB");
const opt = { expertCapacity: job.capacity ?? undefined };
const sums: Record<string, number[]> = {};
for (let i = 0; i < 12; i++) {
  for (const { launch, milliseconds } of backend.profile(w.inputs, opt)) {
    (sums[launch.kernel] ??= []).push(milliseconds);
  }
}
let total = 0;
for (const { launch } of backend.profile(w.inputs, opt)) {
  const v = sums[launch.kernel]!.slice(2).sort((a, b) => a - b);
  const m = v[v.length >> 1]!;
  total += m;
  console.log(
    launch.kernel.padEnd(16),
    m.toFixed(4),
    "ms",
    (launch.flops / m / 1e9).toFixed(1),
    "TFLOP/s",
    (launch.bytes / m / 1e6).toFixed(0),
    "GB/s",
    launch.blocks,
  );
}
console.log("total", total.toFixed(3));
const times: number[] = [], walls: number[] = [];
for (let i = 0; i < 30; i++) {
  const m = await backend.measure(() => backend.experts(w.inputs, opt));
  m.result[Symbol.dispose]();
  times.push(m.milliseconds);
  walls.push(m.wallMilliseconds);
}
const med = (v: number[]) => v.slice(5).sort((a, b) => a - b)[(v.length - 5) >> 1]!;
console.log(
  "whole op",
  med(times).toFixed(3),
  "ms; wall",
  med(walls).toFixed(3),
  "peak",
  backend.memory.peakBytes / 2 ** 20,
  JSON.stringify(backend.driverMemory()),
);
