import { assert } from "@std/assert";
import { PeakMeter } from "../../src/cpu/peak.ts";
import { WorkerPool } from "../../src/wasm/worker_pool.ts";

Deno.test("PeakMeter returns the best of its measurements, so that other load cannot lower a peak", async () => {
  using pool = new WorkerPool(1);
  const meter = new PeakMeter(pool, undefined);
  let best = await meter.measure();
  for (let i = 0; i < 3; i++) {
    const next = await meter.measure();
    assert(next.teraflops >= best.teraflops && next.gigabytesPerSecond >= best.gigabytesPerSecond);
    best = next;
  }
  assert(best.teraflops > 0.001 && best.gigabytesPerSecond > 0.1);
});
