// The check of the output before the timed calls: it accepts right outputs in every dtype, and detects wrong ones.
import { assert, assertEquals, assertLess, assertRejects } from "@std/assert";
import { type Backend, openBackend, type Tensor, tensor } from "../mod.ts";
import { bench } from "../src/bench/bench.ts";
import { mapInputs } from "../src/contract/experts_inputs.ts";
import { checkSample, MismatchError } from "../src/verify/sample.ts";
import { WorkerPool } from "../src/wasm/worker_pool.ts";
import { drawInputs, jobOptions, makeJob } from "../src/workload/workload.ts";
import { randomInputs } from "./random_inputs.ts";

const job = makeJob("tiny", { batch: 2, seq: 24, hidden: 48, intermediate: 32, capacity: 9 });
const options = { warmup: 1, iters: 2, verify: true };

/** Wraps a backend so that its outputs are wrong. */
function spoiled(backend: Backend, spoil: (values: Float16Array) => void): Backend {
  return new Proxy(backend, {
    get(target, name) {
      if (name !== "experts") {
        const value = Reflect.get(target, name, target);
        return typeof value === "function" ? value.bind(target) : value;
      }
      return async (...args: Parameters<Backend["experts"]>) => {
        const output = await target.experts(...args);
        await target.read(output, (piece) => spoil(piece as Float16Array));
        return output;
      };
    },
  });
}

Deno.test("bench() checks sampled rows before the timed calls", async () => {
  using engine = new WorkerPool(1);
  using backend = await openBackend("cpu", { pool: engine });
  const phases: string[] = [];
  const result = await bench(job, backend, engine, { ...options, onProgress: (phase) => phases.push(phase) });
  assertEquals(result.verifiedTokens, 16);
  assert(result.verifyError! > 1e-5);
  assertLess(result.verifyError!, 7.4e-4);
  assertLess(phases.indexOf("Check"), phases.indexOf("Timed runs"));
  const unchecked = await bench(job, backend, engine, { ...options, verify: false });
  assertEquals([unchecked.verifiedTokens, unchecked.verifyError], [null, null]);
});

const faults: Record<string, { spoil: (values: Float16Array) => void; message: RegExp }> = {
  "a NaN": {
    spoil: (values) => values[5] = NaN,
    message: /^The output is wrong: element \[0, 5\] is NaN, and float64/,
  },
  "one wrong element": { spoil: (values) => values[7] = values[7]! + 0.01, message: /element \[0, 7\] is / },
  "a wrong sign": { spoil: (values) => values.forEach((x, i) => values[i] = -x), message: /element \[0, \d+\]/ },
  "everything a little off": {
    spoil: (values) => values.forEach((x, i) => values[i] = x * 1.002),
    message: /relative error over 16 tokens [12]\.\d+e-3, bound 7\.40e-4/,
  },
};

for (const [name, { spoil, message }] of Object.entries(faults)) {
  for (const warmup of [0, 1]) {
    Deno.test(`bench() refuses to time ${name}${warmup ? "" : ", without a warm-up"}`, async () => {
      using engine = new WorkerPool(1);
      using backend = await openBackend("cpu", { pool: engine });
      const error = await assertRejects(
        () => bench(job, spoiled(backend, spoil), engine, { ...options, warmup }),
        MismatchError,
      );
      assert(message.test(error.message), error.message);
    });
  }
}

Deno.test("checkSample() checks the given number of tokens, and only tokens that were not dropped", async () => {
  using engine = new WorkerPool(1);
  using backend = await openBackend("cpu", { pool: engine });
  using workload = await drawInputs(job, backend, engine);
  using output = await backend.experts(workload.inputs, jobOptions(job));
  const { samples, bad } = await checkSample(backend, workload.inputs, output, jobOptions(job), {
    samples: 5,
    tolerance: 2,
  });
  assertEquals([samples, bad], [5, null]);
  const tight = { ...job, capacity: 1 };
  using few = await backend.experts(workload.inputs, jobOptions(tight));
  const check = await checkSample(backend, workload.inputs, few, jobOptions(tight), { samples: 1000, tolerance: 2 });
  assert(check.samples <= job.experts && check.bad === null);
});

Deno.test("checkSample() uses the input weights of each slot", async () => {
  using engine = new WorkerPool(1);
  using backend = await openBackend("cpu", { pool: engine });
  using scope = new DisposableStack();
  const upload = (tensor: Tensor) => scope.use(backend.upload(tensor));
  const host = randomInputs({ T: 20, H: 32, I: 24, E: 4, K: 2 }, 3, { extra: "input weights" });
  const inputs = mapInputs(host, upload);
  using output = await backend.experts(inputs);
  assertEquals((await checkSample(backend, inputs, output, {}, { tolerance: 2 })).bad, null);
  const swapped = tensor(host.inputWeights!.data.map((_, i, all) => all[i ^ 1]!) as Float32Array, [20, 2]);
  const others = { ...inputs, inputWeights: upload(swapped) };
  assert((await checkSample(backend, others, output, {}, { tolerance: 2 })).bad !== null);
});

Deno.test("bench() follows the stop rule: minimum number of calls, minimum time, timeout", async () => {
  using engine = new WorkerPool(1);
  using backend = await openBackend("cpu", { pool: engine });
  const run = (stop: { minTimeMs: number; maxNoise: number; timeoutMs: number }) =>
    bench(job, backend, engine, { warmup: 1, iters: 7, stop });
  const loose = await run({ minTimeMs: 1, maxNoise: 100, timeoutMs: 60_000 });
  assert(loose.iters >= 7 && loose.converged === true);
  const long = await run({ minTimeMs: 100, maxNoise: 100, timeoutMs: 60_000 });
  assert(long.kernelTimesMs.reduce((a, b) => a + b) >= 100 && long.converged === true);
  const cut = await run({ minTimeMs: 1, maxNoise: 0, timeoutMs: 50 });
  assertEquals(cut.converged, false);
  assertEquals(cut.iters, cut.kernelTimesMs.length);
});

for (const preset of ["olmoe-1b-7b", "gpt-oss-20b", "llama-4-scout"] as const) {
  for (const dtype of ["f16", "bf16", "f32"] as const) {
    Deno.test(`bench() finds the ${preset} layer right in ${dtype}`, async () => {
      using engine = new WorkerPool(1);
      using backend = await openBackend("cpu", { pool: engine });
      const sizes = {
        batch: 1,
        seq: 24,
        hidden: 64,
        intermediate: 32,
        experts: 8,
        topK: preset === "llama-4-scout" ? 1 : 2,
      };
      const result = await bench(makeJob(preset, { ...sizes, dtype }), backend, engine, options);
      assertEquals(result.verifiedTokens, 16);
    });
  }
}
