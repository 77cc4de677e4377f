// Runs jobs over several ranks without an end, until another rank is lost. Prints "joining" before and "joined" after it has joined.
// With "leave", rank 1 ends after some jobs as if it had finished. A second argument is the number of seconds to wait for all ranks.
import { openParallel } from "../../src/parallel/open_parallel.ts";
import { mapInputs } from "../../src/contract/experts_inputs.ts";
import { shareOf } from "../../src/parallel/exchange_plan.ts";
import { randomJob } from "./random_job.ts";
import { sliceExperts, sliceRows } from "./slices.ts";

const [mode, timeout = 60] = Deno.args;
const exitWhenLost = mode !== "throw";
console.log("joining");
try {
  using parallel = await openParallel({ timeout: Number(timeout), exitWhenLost, exchange: "assignments" });
  console.log("joined");
  const { rank, ranks } = parallel;
  for (let seed = 0;; seed++) {
    if (mode === "leave" && rank === 1 && seed === 4) break;
    const { inputs, options, experts, tokensPerRank } = randomJob(seed % 20, ranks, { even: false });
    const start = tokensPerRank.slice(0, rank).reduce((sum, n) => sum + n, 0);
    const tokens = { start, end: start + (tokensPerRank[rank] ?? 0) };
    const own = Object.fromEntries(
      Object.entries(inputs).map(([name, value]) => [
        name,
        name.includes("Proj") ? sliceExperts(value, shareOf(experts, ranks, rank)) : sliceRows(value, tokens),
      ]),
    ) as unknown as typeof inputs;
    using scope = new DisposableStack();
    const uploaded = mapInputs(own, (value) => scope.use(parallel.upload(value)));
    await parallel.download(scope.use(await parallel.experts(uploaded, { ...options, totalExperts: experts })));
    if (seed % 7 === 0) await new Promise((resolve) => setTimeout(resolve, 20)); // idle, outside of any call
  }
} catch (error) {
  console.error(`yamoe: ${error instanceof Error ? error.message : error}`);
  Deno.exit(1);
}
