import { openCudaBackend } from "../src/cuda/backend.ts";
import { tileShapes } from "../src/cuda/tiles.ts";
import { Engine } from "../src/wasm/engine.ts";
import { drawInputs, makeJob } from "../src/workload.ts";
using engine = new Engine();
using backend = await openCudaBackend();
const med = (v: number[]) => v.sort((a, b) => a - b)[v.length >> 1]!;
for (const [E, K] of [[8, 2], [32, 4]] as const) {
  for (const rows of [1, 4, 16, 24, 32, 48, 64, 96, 128, 192, 250, 384, 512, 768, 1000, 2000]) {
    const T = Math.round(rows * E / K);
    if (T < 1) {
      continue;
    }
    const job = makeJob("small", { batch: 1, seq: T, experts: E, topK: K, capacity: null });
    using w = await drawInputs(job, backend, engine);
    const counts = [...w.tokensPerExpert];
    let line = `E${E} rows ${rows} (max ${Math.max(...counts)})`.padEnd(28);
    for (const tile of tileShapes) {
      const up: number[] = [], down: number[] = [];
      for (let i = 0; i < 8; i++) {
        for (const { launch, milliseconds } of backend.profile(w.inputs, {}, tile)) {
          if (i < 2) continue;
          if (launch.kernel.startsWith("gate")) up.push(milliseconds);
          if (launch.kernel.startsWith("down")) down.push(milliseconds);
        }
      }
      const tiles = counts.reduce((s, c) => s + Math.ceil(c / tile.rows), 0);
      line += ` | ${tile.rows}: ${med(up).toFixed(4)} ${med(down).toFixed(4)} (${tiles})`;
    }
    console.log(line);
  }
}
