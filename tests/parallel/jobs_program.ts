// Runs jobs over several ranks and compares each rank's output with that of one emulated GPU, bit by bit. Prints one JSON line.
import { openCudaBackend } from "../../src/cuda/backend.ts";
import type { ExpertsInputs } from "../../src/contract/experts.ts";
import { mapInputs } from "../../src/contract/experts_inputs.ts";
import { shareOf } from "../../src/parallel/exchange_plan.ts";
import type { ParallelExpertsOptions } from "../../src/parallel/resolve.ts";
import { openParallel } from "../../src/parallel/open_parallel.ts";
import type { BackendTensor } from "../../src/tensor/backend_tensor.ts";
import { convert, type Tensor } from "../../src/tensor/tensor.ts";
import { randomJob } from "./random_job.ts";
import { sameBits, sliceExperts, sliceRows } from "./slices.ts";

const [first = "0", count = "1", exchange = "assignments"] = Deno.args;
using parallel = await openParallel({
  ...{ exchange: exchange as "assignments" | "tokens", timeout: 30 },
  nccl: Deno.env.get("YAMOE_NCCL_PATH"),
});
using single = await openCudaBackend({ device: parallel.rank });
const { rank, ranks } = parallel;
let different = 0, worst = 0;
for (let seed = Number(first); seed < Number(first) + Number(count); seed++) {
  const { inputs, options, experts, tokensPerRank } = randomJob(seed, ranks, { even: exchange === "tokens" });
  const tokens = { start: tokensPerRank.slice(0, rank).reduce((sum, n) => sum + n, 0), end: 0 };
  tokens.end = tokens.start + (tokensPerRank[rank] ?? 0);
  const whole = await run(single, inputs, options);
  const expected = sliceRows(whole, tokens);
  const shared = shareOf(experts, ranks, rank);
  const own = Object.fromEntries(
    Object.entries(inputs).map((
      [name, value],
    ) => [name, /Proj/.test(name) ? sliceExperts(value, shared) : sliceRows(value, tokens)]),
  ) as unknown as ExpertsInputs;
  const known = exchange === "tokens" || seed % 2 === 0 ? tokensPerRank : undefined;
  const actual = await run(parallel, own, { ...options, totalExperts: experts, tokensPerRank: known });
  if (!sameBits(actual, expected)) different++;
  worst = Math.max(worst, distance(actual, expected));
}
console.log(JSON.stringify({ rank, different, worst, live: parallel.memory.liveBytes }));

async function run(
  backend: { upload(tensor: Tensor): BackendTensor; download(tensor: BackendTensor): Promise<Tensor> } & {
    experts(inputs: ExpertsInputs<BackendTensor>, options: ParallelExpertsOptions): Promise<BackendTensor>;
  },
  inputs: ExpertsInputs,
  options: ParallelExpertsOptions,
): Promise<Tensor> {
  using scope = new DisposableStack();
  const uploaded = mapInputs(inputs, (value) => scope.use(backend.upload(value)));
  return await backend.download(scope.use(await backend.experts(uploaded, options)));
}

function distance(a: Tensor, b: Tensor): number {
  const [x, y] = [convert(a, "f32").data, convert(b, "f32").data];
  let error = 0, norm = 0;
  for (let i = 0; i < x.length; i++) {
    error += ((x[i] ?? 0) - (y[i] ?? 0)) ** 2;
    norm += (y[i] ?? 0) ** 2;
  }
  return norm === 0 ? Math.sqrt(error) : Math.sqrt(error / norm);
}
