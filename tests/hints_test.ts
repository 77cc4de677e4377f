// Hints: what the bench says about a time that should not be trusted.
import { assert, assertEquals } from "@std/assert";
import { openBackend } from "../mod.ts";
import { bench } from "../src/bench/bench.ts";
import { shares } from "../src/bench/rates.ts";
import { shortHint } from "../src/bench/hints.ts";
import { watchMachine } from "../src/bench/machine_load.ts";
import { warmUp } from "../src/bench/series.ts";
import { WorkerPool } from "../src/wasm/worker_pool.ts";
import { makeJob } from "../src/workload/workload.ts";
import { record } from "./records.ts";

/** Returns the few words of the hints of a record. */
function hintsOf(...args: Parameters<typeof record>): string[] {
  return record(...args).hints.map(shortHint);
}

Deno.test("hints() names a single call without a warm-up", () => {
  assertEquals(hintsOf([10], {}, { warmup: 0 }), ["cold call"]);
  assertEquals(hintsOf([10], {}, { warmup: 1 }), []);
});

Deno.test("hints() names a busy machine, by the CPU time of other programs or by the preemptions per thread", () => {
  assertEquals(hintsOf([10], {}, { otherLoad: 0.3 }), ["busy machine"]);
  assertEquals(hintsOf([10], {}, { otherLoad: 0.02, threads: 2, preemptionsPerSecond: 200 }), []);
  assertEquals(hintsOf([10], {}, { threads: 2, preemptionsPerSecond: 200 }), ["busy machine"]);
  assertEquals(hintsOf([10], {}, { threads: 2, preemptionsPerSecond: 20 }), []);
  assertEquals(hintsOf([10], {}, { threads: 2, preemptionsPerSecond: 200, backend: "cuda" }), []);
});

Deno.test("A rate above the peak has no share, and a hint", () => {
  const rates = { tflops: 2, gigabytesPerSecond: 10, tokensPerSecond: 1, intensity: 200 };
  const peak = { teraflops: 4, gigabytesPerSecond: 40, source: "measured" } as const;
  assertEquals([shares(rates, peak).percentOfPeak, shares(rates, peak).boundBy], [50, "compute"]);
  for (const wrong of [{ teraflops: 1.9 }, { gigabytesPerSecond: 9 }]) {
    const found = shares(rates, { ...peak, ...wrong });
    assertEquals([found.percentOfPeak, found.boundBy], [null, null]);
    assertEquals(hintsOf([10], {}, found), ["peak too low"]);
  }
  assertEquals(hintsOf([10], {}, shares(rates, undefined)), []);
});

Deno.test("bench() asks again for a peak that a call exceeds, and never reports more than 100 %", async () => {
  using pool = new WorkerPool(1);
  using backend = await openBackend("cpu", { pool });
  const job = makeJob("tiny", { batch: 1, seq: 8, hidden: 32 });
  const low = { teraflops: 1e-9, gigabytesPerSecond: 1e-9, source: "measured" } as const;
  const high = { teraflops: 1e3, gigabytesPerSecond: 1e6, source: "measured" } as const;
  for (const peaks of [[low, low, low], [low, high]]) {
    const left = [...peaks];
    const measured = new Proxy(backend, {
      get(target, name) {
        if (name === "peakRates") return () => Promise.resolve(left.shift());
        const value = Reflect.get(target, name, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const { percentOfPeak } = await bench(job, measured, pool, { warmup: 1, iters: 6, thorough: true });
    assertEquals(left, []);
    if (peaks.includes(high)) assert(percentOfPeak !== null && percentOfPeak <= 100);
    else assertEquals(percentOfPeak, null);
  }
});

Deno.test("warmUp() makes at least one call, and continues until two in a row agree or the time is over", async () => {
  const made = async (times: number[], warmup: number | "steady" = "steady") => {
    const left = [...times];
    const calls = await warmUp(warmup, () => {
      const milliseconds = left.shift() ?? 0;
      return Promise.resolve({ milliseconds, wallMilliseconds: milliseconds, hostMilliseconds: null });
    });
    return calls.length;
  };
  assertEquals(await made([50, 20, 10, 10.2, 10]), 4);
  assertEquals(await made([10, 10, 10]), 2);
  assertEquals(await made([3000, 10, 10]), 1);
  assertEquals(await made([900, 1200, 10]), 2);
  assertEquals(await made([1, 2, 4, 8, 16, 32, 1, 2, 4, 8, 16]), 10);
  assertEquals(await made([], 0), 0);
  assertEquals(await made([3, 2, 1], 3), 3);
});

Deno.test("bench() without a number of warm-up calls makes some, and reports how many", async () => {
  using pool = new WorkerPool(1);
  using backend = await openBackend("cpu", { pool });
  const job = makeJob("tiny", { batch: 1, seq: 8, hidden: 32 });
  const { warmup, iters } = await bench(job, backend, pool, { warmup: "steady", iters: 1 });
  assert(warmup >= 2 && iters === 1);
});

/** The CPU time that a process has used, in milliseconds. */
async function processTime(pid: number): Promise<number> {
  const { stdout } = await new Deno.Command("cat", { args: [`/proc/${pid}/stat`] }).output();
  // After the name in brackets: fields 14 and 15 are the user and system times, in hundredths of a second.
  const fields = new TextDecoder().decode(stdout).split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

Deno.test({
  name: "watchMachine() sees the CPU time that another process uses",
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    const other = new Deno.Command("sh", { args: ["-c", "while :; do :; done"] }).spawn();
    try {
      const load = watchMachine();
      const start = performance.now();
      const before = await processTime(other.pid);
      // On a busy machine the other process gets only a part of a CPU.
      let used = 0;
      while (used < 500 && performance.now() - start < 30_000) {
        await new Promise((resolve) => setTimeout(resolve, 100));
        used = await processTime(other.pid) - before;
      }
      const elapsed = performance.now() - start;
      const { otherLoad, preemptionsPerSecond } = load();
      assert(used >= 500, `the other process used only ${used} ms`);
      assert(otherLoad !== null);
      const seen = otherLoad * elapsed * navigator.hardwareConcurrency;
      assert(seen >= 0.8 * used, `${seen} of ${used} ms`);
      assert(preemptionsPerSecond >= 0);
    } finally {
      other.kill("SIGKILL");
      await other.status;
    }
  },
});
