import { assert, assertAlmostEquals, assertEquals } from "@std/assert";
import { type BackendTensor, convert, Generator, openBackend, type PackedTensor, route, tensor } from "../mod.ts";
import { bench } from "../src/bench/bench.ts";
import { defaultVariant } from "../src/contract/experts_options.ts";
import { resolveExperts } from "../src/contract/resolve_experts.ts";
import { type PresetName, presets } from "../src/models/presets.ts";
import { isPacked } from "../src/tensor/packed_tensor.ts";
import { WorkerPool } from "../src/wasm/worker_pool.ts";
import {
  drawInputs,
  type Job,
  jobBytes,
  type JobChanges,
  jobOptions,
  makeJob,
  tensorBytes,
} from "../src/workload/workload.ts";
import { Fixture } from "./fixtures.ts";

/** Checks that a weight is dense. */
function dense(weight: BackendTensor | PackedTensor<BackendTensor>): BackendTensor {
  assert(!isPacked(weight));
  return weight;
}

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
    using engine = new WorkerPool(2);
    using backend = await openBackend("cpu", { pool: engine });
    using workload = await drawInputs(fixtureJob(fixture), backend, engine);
    const { inputs } = workload;
    const data = async (tensor: typeof inputs.gateUpProj) => (await backend.download(dense(tensor))).data;
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
  using engine = new WorkerPool(2);
  using backend = await openBackend("cpu", { pool: engine });
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
  assertEquals(result.peakMemoryBytes, jobBytes(job) - (32 - 30) * (32 + 32) * 2);
  assertEquals(backend.memory.liveBytes, 0);
});

Deno.test("makeJob() lets intermediate follow hidden and capacity follow seq", () => {
  const job = makeJob("reference", { hidden: 64, seq: 10, batch: undefined });
  assertEquals([job.batch, job.intermediate, job.capacity, job.seed], [128, 64, 10, 0]);
  assertEquals(makeJob("small", { intermediate: 7, capacity: null, seed: 2n ** 63n }), {
    ...defaultVariant,
    preset: "custom",
    batch: 16,
    seq: 256,
    hidden: 2880,
    intermediate: 7,
    experts: 8,
    topK: 2,
    capacity: null,
    biases: "zero",
    router: { kind: "softmax" },
    sharedIntermediate: 0,
    seed: 2n ** 63n,
    model: "custom",
    ...{ op: "experts", weights: "dense", layer: null, hiddenFile: null, skew: 0, ep: 1 },
  });
});

/** A preset's layer at sizes that a test can afford; the groups of experts stay. */
const few = { hidden: 48, intermediate: 40, experts: 16, batch: 1, seq: 3 } as const satisfies JobChanges;

const names = Object.keys(presets) as PresetName[];

for (const name of names) {
  Deno.test(`drawInputs() draws what the preset ${name} takes`, async () => {
    using engine = new WorkerPool(1);
    using backend = await openBackend("cpu", { pool: engine });
    for (const dtype of ["f16", "bf16", "f32"] as const) {
      const job = makeJob(name, { ...few, dtype });
      using workload = await drawInputs(job, backend, engine);
      const shape = resolveExperts(workload.inputs, jobOptions(job));
      const { tokens, hidden, intermediate, experts, topK } = shape;
      assertEquals([tokens, hidden, intermediate, experts, topK], [3, 48, 40, 16, presets[name].topK]);
      assertEquals(shape.capacity, presets[name].dropless ? Infinity : 3);
      const { inputs } = tensorBytes(job);
      assertEquals(backend.memory.liveBytes, Object.values(inputs).reduce((sum, bytes) => sum + bytes));
    }
  });
}

/** What the documentation of `drawInputs` says of a job with all there is, number by number. */
function drawOneByOne({ hidden, intermediate, experts, topK, dtype, seed, batch, seq, router }: Job) {
  const random = new Generator(seed);
  const round = (values: Float32Array, shape: number[]) => convert(tensor(values, shape), dtype);
  const scaled = (shape: number[], scale: number) => {
    const rounded = convert(round(random.randn(shape).data as Float32Array, shape), "f32").data as Float32Array;
    return round(rounded.map((x) => x * Math.fround(scale)), shape).data;
  };
  const logits = random.randn([batch * seq, experts]);
  const bias = router.correctionBias && random.randn([experts]).data.map((x) => x * Math.fround(0.02));
  const correctionBias = bias ? tensor(bias as Float32Array) : undefined;
  const routing = route(logits, { ...router, topK, correctionBias });
  return {
    routing,
    hiddenStates: scaled([batch * seq, hidden], 0.1),
    gateUpProj: scaled([experts, 2 * intermediate, hidden], 0.02),
    downProj: scaled([experts, hidden, intermediate], 0.02),
    gateUpProjBias: scaled([experts, 2 * intermediate], 0.02),
    downProjBias: scaled([experts, hidden], 0.02),
  };
}

for (const dtype of ["f16", "bf16", "f32"] as const) {
  Deno.test(`drawInputs() draws in the order that it documents, in ${dtype}`, async () => {
    using engine = new WorkerPool(2);
    using backend = await openBackend("cpu", { pool: engine });
    const job = makeJob("deepseek-v3", { ...few, hidden: 300, intermediate: 117, seed: 5, dtype, biases: "random" });
    using workload = await drawInputs(job, backend, engine);
    const { routing, ...expected } = drawOneByOne(job);
    for (const name of Object.keys(expected) as (keyof typeof expected)[]) {
      assertEquals((await backend.download(dense(workload.inputs[name]!))).data, expected[name], name);
    }
    const { routerIndices, routingWeights } = workload.inputs;
    assertEquals((await backend.download(routerIndices)).data, routing.routerIndices.data);
    assertEquals((await backend.download(routingWeights)).data, convert(routing.routerWeights, dtype).data);
  });

  Deno.test(`drawInputs() weighs the input where the router says so, in ${dtype}`, async () => {
    using engine = new WorkerPool(2);
    using backend = await openBackend("cpu", { pool: engine });
    const job = makeJob("llama-4-scout", { ...few, dtype });
    using workload = await drawInputs(job, backend, engine);
    const random = new Generator(0);
    const { inputWeights } = route(random.randn([3, 16]), { ...job.router, topK: 1, correctionBias: undefined });
    assertEquals(await backend.download(workload.inputs.inputWeights!), inputWeights);
    const ones = convert(await backend.download(workload.inputs.routingWeights), "f32").data;
    assertEquals([...ones], [1, 1, 1]);
  });
}
