// Two backends compute on one GPU at the same time, each in a stream of its own. Each call must have the bits that it has alone.
// The blocks of another kernel can make a load late that is never late otherwise: see cuda/LADDER.md, "two streams on one GPU".
// `gpu:check` runs this file.
//
//   streams.ts [SECONDS for each pair [PRESET TOKENS]]
import type { BackendTensor } from "../../src/backend/backend.ts";
import { openCudaBackend } from "../../src/cuda/backend.ts";
import { gateUpColumns, weightShapes } from "../../src/contract/experts_sizes.ts";
import type { PresetName } from "../../src/models/presets.ts";
import { route } from "../../src/routing/route.ts";
import { convert } from "../../src/tensor/tensor.ts";
import type { PackedFormat } from "../../src/tensor/packed_tensor.ts";
import { Generator } from "../../src/torch/generator.ts";
import { drawPacked, jobFormats } from "../../src/workload/drawn_weights.ts";
import { jobOptions, makeJob } from "../../src/workload/workload.ts";
import { normalTensors } from "./measure.ts";

const [seconds = "20", preset = "gpt-oss-120b", tokens = "514"] = Deno.args;
const job = makeJob(preset as PresetName, { batch: 1, seq: Number(tokens) });
const { hidden, experts, topK, dtype, router } = job;

const packedJob = makeJob(preset as PresetName, { ...job, weights: "mxfp4" });
const packedFormats = jobFormats(packedJob), packedShapes = weightShapes(packedJob);
const packedWeights = {
  gateUpProj: await drawPacked(packedFormats.gateUpProj as PackedFormat, packedShapes.gateUpProj, 0),
  downProj: await drawPacked(packedFormats.downProj as PackedFormat, packedShapes.downProj, 1),
};

/** Opens a backend with tiles of so many rows, and uploads the job's layer. */
async function openLayer(owner: DisposableStack, weights: "dense" | "mxfp4", tileRows: number) {
  const backend = owner.use(await openCudaBackend({ tileRows }));
  const random = new Generator(0), normal = normalTensors(backend, dtype, random);
  const { correctionBias: _none, ...rules } = router;
  const { routerIndices, routerWeights } = route(random.randn([job.seq, experts]), { ...rules, topK });
  const shapes = weightShapes(job);
  const inputs = {
    hiddenStates: await normal(owner, [job.seq, hidden], 1),
    routerIndices: owner.use(backend.upload(routerIndices)),
    routingWeights: owner.use(backend.upload(convert(routerWeights, dtype))),
    gateUpProj: weights === "dense"
      ? await normal(owner, shapes.gateUpProj, 0.02)
      : owner.use(backend.upload(packedWeights.gateUpProj)),
    gateUpProjBias: await normal(owner, [experts, gateUpColumns(job)], 0.02),
    downProj: weights === "dense"
      ? await normal(owner, shapes.downProj, 0.02)
      : owner.use(backend.upload(packedWeights.downProj)),
    downProjBias: await normal(owner, [experts, hidden], 0.02),
  };
  const options = jobOptions(weights === "dense" ? job : packedJob);
  return { backend, call: () => backend.experts(inputs, options) };
}

/** Returns the number of calls, and of those with other bits than the first one. */
async function compare(weights: "dense" | "mxfp4", tileRows: number): Promise<[calls: number, wrong: number]> {
  using owner = new DisposableStack();
  const tested = await openLayer(owner, weights, tileRows), beside = await openLayer(owner, "dense", 64);
  const wordsOf = async (output: BackendTensor) => {
    using _ = output;
    return new BigUint64Array((await tested.backend.download(output)).data.buffer);
  };
  const expected = await wordsOf(await tested.call());
  const captured = owner.use(
    await beside.backend.capture(async () => {
      const outputs = [];
      for (let i = 0; i < 8; i++) outputs.push(await beside.call());
      return outputs;
    }),
  );
  let calls = 0, wrong = 0;
  for (const end = Date.now() + Number(seconds) * 1000; Date.now() < end;) {
    await captured.replay();
    const outputs = [];
    for (let i = 0; i < 8; i++) outputs.push(await tested.call());
    for (const output of outputs) {
      const words = await wordsOf(output);
      calls += 1;
      if (!words.every((word, i) => word === expected[i])) wrong += 1;
    }
    await beside.backend.synchronize();
  }
  return [calls, wrong];
}

let failed = false;
for (const [weights, tileRows] of [["dense", 16], ["dense", 64], ["mxfp4", 16], ["mxfp4", 64]] as const) {
  const [calls, wrong] = await compare(weights, tileRows);
  failed ||= wrong > 0;
  console.log(`${weights}, tiles of ${tileRows} rows: ${wrong} of ${calls} calls have other bits`);
}
if (failed) Deno.exit(1);
