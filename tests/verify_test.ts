import { assertEquals } from "@std/assert";
import { type Backend, openBackend, type Tensor } from "../mod.ts";
import { verify } from "../src/verify/verify.ts";
import { Engine } from "../src/wasm/engine.ts";
import { makeJob } from "../src/workload.ts";

const job = makeJob("tiny", { batch: 1, seq: 16, hidden: 64, experts: 4 });

/** The names of the checks that fail on a backend whose downloads are spoilt. */
async function failures(spoil: (tensor: Tensor, download: number) => void): Promise<string[]> {
  using engine = new Engine(1);
  using cpu = await openBackend("cpu", { engine });
  let downloads = 0;
  const spoilt = new Proxy(cpu, {
    get(target, name) {
      if (name === "download") {
        return async (...[tensor]: Parameters<Backend["download"]>) => {
          const copy = await target.download(tensor);
          if (copy.dtype === "f16" && copy.shape.join() === "16,64") spoil(copy, downloads++);
          return copy;
        };
      }
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const checks = await Array.fromAsync(verify(spoilt, engine, { job, samples: 16, runs: 3 }));
  return checks.filter(({ passed }) => !passed).map(({ name }) => name);
}

Deno.test("verify() passes on a backend that is right", async () => {
  assertEquals(await failures(() => {}), []);
});

Deno.test("verify() fails where the results are off, are no numbers, or change from run to run", async () => {
  const sampled = "16 tokens of the tiny job", hiddenStates = 1; // the second of what is downloaded in this shape
  const spoilOutputs = (change: (data: Tensor["data"]) => void) =>
    failures(({ data }, download) => download === hiddenStates ? undefined : change(data));
  assertEquals(await spoilOutputs((data) => data.fill(0, 0, 64)), [sampled]);
  assertEquals(await spoilOutputs((data) => data[70] = NaN), [sampled]);
  assertEquals(await failures(({ data }, download) => data[3]! += download > 1 ? 1 : 0), ["the same bits in 3 runs"]);
});
