// Runs a call with packed weights over several ranks, with so many rows that the products use a large tile. Compares the output with
// that of one GPU. Prints one JSON line.
import { openCudaBackend } from "../../src/cuda/backend.ts";
import { shareOf } from "../../src/parallel/exchange_plan.ts";
import { openParallel } from "../../src/parallel/open_parallel.ts";
import { Control } from "../emulator/control.ts";
import { variantNamed } from "../packed_inputs.ts";
import { randomInputs } from "../random_inputs.ts";
import { SmallRandom } from "../small_random.ts";
import { run, sliceInputs, tokensOf } from "./rank_calls.ts";
import { sameBits, sliceRows } from "./slices.ts";

using parallel = await openParallel({ exchange: "assignments", timeout: 30, overlapRows: 1 });
using single = await openCudaBackend({ device: parallel.rank });
const { rank, ranks } = parallel;
const [E, H, I, tokens] = [2 * ranks, 192, 96, 100];
const tokensPerRank = Array.from({ length: ranks }, () => tokens);
const random = new SmallRandom(1);
const mxfp4 = variantNamed("mxfp4");
const inputs = {
  ...randomInputs({ T: tokens * ranks, H, I, E, K: 2 }, 1, {
    ...{ dtype: "bf16", weightLayout: "out-in", extra: "input weights" },
  }),
  gateUpProj: mxfp4.make(random, [E, 2 * I, H], 0.1),
  downProj: mxfp4.make(random, [E, H, I], 0.1),
};
const options = { weightLayout: "out-in" } as const;
const own = tokensOf(tokensPerRank, rank);
const expected = sliceRows(await run(single, inputs, options), own);
const control = new Control("libcuda.so.1");
const launches = () => [64, 160, 192].reduce((sum, rows) => sum + control.counters(`mxfp4_${rows}_bf16`).launches, 0);
const before = launches();
const actual = await run(parallel, sliceInputs(inputs, shareOf(E, ranks, rank), own), {
  ...{ ...options, totalExperts: E, tokensPerRank },
});
console.log(JSON.stringify({ same: sameBits(actual, expected), launches: launches() - before }));
