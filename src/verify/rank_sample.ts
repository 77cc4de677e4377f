// Checks a few rows of an output over several ranks against float64: each rank computes what its experts add to the rows of all.
import type { BackendTensor } from "../backend/backend.ts";
import type { ExpertsInputs } from "../contract/experts.ts";
import type { ParallelBackend } from "../parallel/parallel_backend.ts";
import { type ParallelExpertsOptions, resolveParallelExperts } from "../parallel/resolve.ts";
import { tokensPerExpert } from "../routing/assignments.ts";
import { keptMask } from "./reference.ts";
import {
  addendRows,
  addExpertRows,
  affordableSamples,
  compareRows,
  type SampleCheck,
  sampleTokens,
  sampleUses,
  type Sampling,
} from "./sample.ts";

/** The most rows of all ranks together, so that what the ranks exchange stays small. */
const maximumRows = 128;

/**
 * Compares some rows of each rank's output with float64. All ranks must call it.
 *
 * @param inputs The inputs of this rank's call.
 * @param output This rank's output, [T, H].
 * @param sampling How the rows of each rank are sampled.
 */
export async function checkRankSample(
  parallel: ParallelBackend,
  inputs: ExpertsInputs<BackendTensor>,
  output: BackendTensor,
  options: ParallelExpertsOptions,
  { samples, tolerance = 1, readWeight }: Sampling = {},
): Promise<SampleCheck> {
  const { rank, ranks } = parallel;
  const shape = resolveParallelExperts(inputs, options, parallel);
  const indices = await parallel.download(inputs.routerIndices);
  const counts = await parallel.allGather([...tokensPerExpert(indices, shape.experts)]);
  const before = counts.slice(0, rank).reduce(
    (sums, row) => sums.map((sum, e) => sum + (row[e] ?? 0)),
    Array(shape.experts).fill(0),
  );
  const kept = keptMask(indices.data, shape, before);
  const count = samples ?? Math.ceil(affordableSamples(shape) / ranks);
  const tokens = sampleTokens(kept, shape.topK, Math.max(1, Math.min(count, Math.floor(maximumRows / ranks))));

  const own = await sampleUses(parallel, inputs, shape, { indices: indices.data, kept, tokens });
  const requests = await parallel.allGather({ rows: tokens.length, uses: own });
  const { start, end } = parallel.share(shape.experts);
  const computed: string[] = [];
  for (const { rows: count, uses } of requests) {
    const rows = Array.from({ length: count }, () => new Float64Array(shape.hidden));
    const mine = uses.filter(({ expert }) => expert >= start && expert < end);
    const local = mine.map((use) => ({ ...use, expert: use.expert - start }));
    await addExpertRows(parallel, inputs, shape, { uses: local, readWeight }, rows);
    computed.push(rows.map((row) => new Uint8Array(row.buffer).toBase64()).join());
  }
  const expected = await addendRows(parallel, inputs, shape, tokens);
  for (const parts of await parallel.allGather(computed)) {
    for (const [i, text] of (parts[rank] ?? "").split(",").filter(Boolean).entries()) {
      const added = new Float64Array(Uint8Array.fromBase64(text).buffer);
      expected[i]?.forEach((sum, h, row) => row[h] = sum + (added[h] ?? 0));
    }
  }
  return await compareRows(parallel, output, shape, { tokens, expected, tolerance });
}
