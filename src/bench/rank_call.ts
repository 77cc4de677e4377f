// The call that each rank of a run times.
import { expertsBytes, expertsFlops } from "../contract/experts_sizes.ts";
import { exchangeBytes } from "../parallel/exchange_bytes.ts";
import type { ParallelBackend } from "../parallel/parallel_backend.ts";
import { type ParallelExpertsOptions, resolveParallelExperts } from "../parallel/resolve.ts";
import { keptAssignments, tokensPerExpert } from "../routing/assignments.ts";
import { bytesPerElement } from "../tensor/tensor.ts";
import type { WorkerPool } from "../wasm/worker_pool.ts";
import type { OutputSummary } from "../workload/output_summary.ts";
import type { TimedCall } from "../workload/timed_call.ts";
import { areDrawn } from "../workload/drawn_weights.ts";
import { drawInputs, type Job, jobOptions } from "../workload/workload.ts";

/**
 * Draws the inputs of a job for one rank: the job's tokens, and this rank's share of its experts. The seed of rank r is the job's seed
 * plus r. The figures of the call are those of all ranks together.
 */
export async function prepareRankCall(
  job: Job,
  parallel: ParallelBackend,
  pool: WorkerPool,
  onProgress?: (fraction: number) => void,
): Promise<TimedCall> {
  if (job.op !== "experts" || !areDrawn(job.weights) || job.hiddenFile !== null) {
    throw new TypeError("Only drawn experts can be timed over several GPUs, not whole layers or files");
  }
  const { rank, ranks } = parallel;
  const { start, end } = parallel.share(job.experts);
  const seed = BigInt.asUintN(64, BigInt(job.seed) + BigInt(rank));
  using scope = new DisposableStack();
  const { inputs, readWeight } = scope.use(await drawInputs({ ...job, seed }, parallel, pool, onProgress, end - start));
  const tokens = job.batch * job.seq;
  const options: ParallelExpertsOptions = {
    ...{ ...jobOptions(job), totalExperts: job.experts, tokensPerRank: Array<number>(ranks).fill(tokens) },
  };
  const own = tokensPerExpert(await parallel.download(inputs.routerIndices), job.experts);
  const counts = new Int32Array(job.experts);
  for (const row of await parallel.allGather([...own])) row.forEach((count, e) => counts[e] = (counts[e] ?? 0) + count);
  const shape = { ...resolveParallelExperts(inputs, options, parallel), tokens: tokens * ranks };
  const kept = keptAssignments(counts, shape.capacity);
  const exchange = parallel.exchangeOf(Array<number>(ranks).fill(tokens));
  const sizes = { tokens, hidden: job.hidden, topK: job.topK, element: bytesPerElement(job.dtype) };
  const { toExperts, back } = exchangeBytes(sizes, ranks, exchange);
  const owned = scope.move();
  return {
    run: (onProgress) => parallel.experts(inputs, { ...options, onProgress }),
    experts: { inputs, options },
    readWeight,
    ...{ shape, tokensPerExpert: counts, kept, flops: expertsFlops(shape, kept), bytes: expertsBytes(shape, counts) },
    over: { ranks, exchange, bytes: toExperts + back },
    [Symbol.dispose]: () => owned.dispose(),
  };
}

/** Summarizes the outputs of all ranks, in their order. */
export function mergeSummaries(summaries: readonly OutputSummary[]): OutputSummary {
  const sum = (key: "outputSum" | "outputAbsSum") => summaries.reduce((total, summary) => total + summary[key], 0);
  return {
    ...{ outputSum: sum("outputSum"), outputAbsSum: sum("outputAbsSum") },
    outputMin: Math.min(...summaries.map(({ outputMin }) => outputMin)),
    outputMax: Math.max(...summaries.map(({ outputMax }) => outputMax)),
    outputFirst: summaries[0]?.outputFirst ?? [],
  };
}
