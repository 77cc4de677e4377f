// Runs jobs over several ranks and compares each rank's output with that of one GPU, bit by bit, and with float64. Prints one JSON line.
import { openCudaBackend } from "../../src/cuda/backend.ts";
import type { DenseInputs } from "../../src/contract/experts.ts";
import { mapInputs } from "../../src/contract/experts_inputs.ts";
import { shareOf } from "../../src/parallel/exchange_plan.ts";
import { openParallel } from "../../src/parallel/open_parallel.ts";
import { decode } from "../../src/tensor/decode.ts";
import { isPacked } from "../../src/tensor/packed_tensor.ts";
import type { DType } from "../../src/tensor/tensor.ts";
import { RelativeError } from "../../src/verify/check.ts";
import { referenceOutput } from "../../src/verify/variants.ts";
import { randomJob } from "./random_job.ts";
import { run, sliceInputs, tokensOf } from "./rank_calls.ts";
import { sameBits, sliceRows } from "./slices.ts";

const [first = "0", count = "1", exchange = "assignments"] = Deno.args;
using parallel = await openParallel({
  ...{ exchange: exchange as "assignments" | "tokens", timeout: 30, overlapRows: 1 },
  nccl: Deno.env.get("YAMOE_NCCL_PATH"),
});
using single = await openCudaBackend({ device: parallel.rank });
const { rank, ranks } = parallel;
let different = 0;
const errors = new Map<DType, { actual: RelativeError; single: RelativeError }>();
for (let seed = Number(first); seed < Number(first) + Number(count); seed++) {
  const { inputs, options, experts, tokensPerRank } = randomJob(seed, ranks, { even: exchange === "tokens" });
  const tokens = tokensOf(tokensPerRank, rank);
  const expected = sliceRows(await run(single, inputs, options), tokens);
  const own = sliceInputs(inputs, shareOf(experts, ranks, rank), tokens);
  const known = exchange === "tokens" || seed % 2 === 0 ? tokensPerRank : undefined;
  const actual = await run(parallel, own, { ...options, totalExperts: experts, tokensPerRank: known });
  if (!sameBits(actual, expected)) different++;
  const { dtype, shape: [, hidden = 0] } = actual;
  const decoded: DenseInputs = mapInputs(
    inputs,
    (value) => value,
    (weight) => isPacked(weight) ? decode(weight, dtype) : weight,
  );
  const exact = referenceOutput(decoded, options).slice(tokens.start * hidden, tokens.end * hidden);
  const error = errors.get(dtype) ?? { actual: new RelativeError(), single: new RelativeError() };
  errors.set(dtype, error);
  error.actual.add(actual, exact);
  error.single.add(expected, exact);
}
console.log(JSON.stringify({
  ...{ rank, different, live: parallel.memory.liveBytes },
  errors: Object.fromEntries([...errors].map(([dtype, { actual, single }]) => [dtype, [actual.value, single.value]])),
}));
