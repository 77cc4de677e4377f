import { assertEquals } from "@std/assert";
import { type Backend, openBackend, type TensorData } from "../mod.ts";
import { verify } from "../src/verify/verify.ts";
import { Engine } from "../src/wasm/engine.ts";
import { makeJob } from "../src/workload.ts";

const job = makeJob("tiny", { batch: 1, seq: 16, hidden: 64, experts: 4 });

/** The names of the checks that fail on a backend that spoils its outputs of the job. */
async function failures(spoil: (output: TensorData, run: number) => void): Promise<string[]> {
  using engine = new Engine(1);
  using cpu = await openBackend("cpu", { engine });
  let runs = 0;
  const spoilt = new Proxy(cpu, {
    get(target, name) {
      if (name === "experts") {
        return async (...args: Parameters<Backend["experts"]>) => {
          const output = await target.experts(...args);
          if (output.shape.join() === "16,64") await target.fill(output, (data) => spoil(data, runs++));
          return output;
        };
      }
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const checks = await Array.fromAsync(verify(spoilt, engine, { job, samples: 16, runs: 3 }));
  assertEquals(runs, 3);
  return checks.filter(({ passed }) => !passed).map(({ name }) => name);
}

Deno.test("verify() passes on a backend that is right", async () => {
  assertEquals(await failures(() => {}), []);
});

Deno.test("verify() fails where the results are off, are no numbers, or change from run to run", async () => {
  const sampled = "16 tokens of the tiny job";
  assertEquals(await failures((output) => output.fill(0, 0, 64)), [sampled]);
  assertEquals(await failures((output) => output[70] = NaN), [sampled]);
  assertEquals(await failures((output, run) => output[3]! += run === 1 ? 1 : 0), ["the same bits in 3 runs"]);
});
