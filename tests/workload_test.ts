import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { openBackend } from "../mod.ts";
import { bench } from "../src/bench.ts";
import { Engine } from "../src/wasm/engine.ts";
import { drawInputs, jobBytes, makeJob } from "../src/workload.ts";
import { Fixture } from "./fixtures.ts";

function fixtureJob(fixture: Fixture) {
  const { batch, seq, hidden, experts, top_k, capacity, seed } = fixture.metadata;
  return makeJob("tiny", {
    batch: Number(batch),
    seq: Number(seq),
    hidden: Number(hidden),
    experts: Number(experts),
    topK: Number(top_k),
    capacity: Number(capacity),
    seed: Number(seed),
  });
}

for (const name of ["tiny", "gpt-oss-like"]) {
  Deno.test(`drawInputs() draws what PyTorch drew for the golden job ${name}`, async () => {
    const fixture = new Fixture(name);
    using engine = new Engine(2);
    using backend = await openBackend("cpu", { engine });
    using workload = await drawInputs(fixtureJob(fixture), backend, engine);
    const { inputs } = workload;
    const data = async (tensor: typeof inputs.hiddenStates) => (await backend.download(tensor)).data;
    assertEquals(await data(inputs.routerIndices), fixture.i32("router_indices").data);
    assertEquals(await data(inputs.routingWeights), fixture.f16("router_weights").data);
    assertEquals(await data(inputs.hiddenStates), fixture.f16("hidden_states").data);
    assertEquals(await data(inputs.gateUpProj), fixture.f16("gate_up_proj").data);
    assertEquals(await data(inputs.downProj), fixture.f16("down_proj").data);
    assert((await data(inputs.gateUpProjBias!)).every((value) => value === 0));
    assertEquals(workload.tokensPerExpert, fixture.i32("tokens_per_expert").data);
    assertEquals(workload.kept, Number(fixture.metadata.kept));
  });
}

Deno.test("bench() reports a run's figures", async () => {
  const fixture = new Fixture("tiny");
  using engine = new Engine(2);
  using backend = await openBackend("cpu", { engine });
  const phases = new Set<string>();
  const job = fixtureJob(fixture);
  const result = await bench(job, backend, engine, { warmup: 1, iters: 3, onProgress: (phase) => phases.add(phase) });

  const expected = [...fixture.f64("output_f64")];
  const sum = (values: number[]) => values.reduce((a, b) => a + b);
  assertAlmostEquals(result.outputSum, sum(expected), 1e-5);
  assertAlmostEquals(result.outputAbsSum, sum(expected.map(Math.abs)), 1e-5);
  assertAlmostEquals(result.outputMin, Math.min(...expected), 1e-6);
  assertAlmostEquals(result.outputMax, Math.max(...expected), 1e-6);
  for (const [i, value] of result.outputFirst.entries()) assertAlmostEquals(value, expected[i]!, 1e-6);
  assertEquals([result.assignments, result.kept, result.dropped], [32, 30, 2]);
  assertEquals(result.tokensPerExpert, [...fixture.i32("tokens_per_expert").data]);
  assertEquals(result.kernelTimesMs.length, 3);
  assertEquals(result.kernelTimeMs, result.kernelTimesMs.toSorted((a, b) => a - b)[1]);
  assertEquals(result.tflops, 30 * 6 * 32 * 32 / result.kernelTimeMs / 1e9);
  assertEquals([...phases], ["Inputs", "Warm-up", "Timed runs"]);
  assertEquals(result.peakMemoryMb * 2 ** 20, jobBytes(job) - (32 - 30) * (32 + 32) * 2);
  assertEquals(backend.memory.liveBytes, 0);
});

Deno.test("makeJob() lets intermediate follow hidden and capacity follow seq", () => {
  const job = makeJob("reference", { hidden: 64, seq: 10, batch: undefined });
  assertEquals([job.batch, job.intermediate, job.capacity, job.seed], [128, 64, 10, 0]);
  assertEquals(makeJob("small", { intermediate: 7, capacity: null, seed: 2n ** 63n }), {
    preset: "small",
    batch: 16,
    seq: 256,
    hidden: 2880,
    intermediate: 7,
    experts: 8,
    topK: 2,
    capacity: null,
    seed: 2n ** 63n,
  });
});
