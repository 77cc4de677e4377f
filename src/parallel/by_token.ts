// Experts over several GPUs for few tokens: every token travels to every GPU, each GPU sums over its own experts in f32, and the sums
// are added on the way back. The sizes are known in advance, so that a call is one graph. The sums are added in another order than on
// one GPU, so the bits can differ.
import type { ExpertsCall } from "../contract/resolve_experts.ts";
import { planCombine, planItems } from "../cuda/plan/steps.ts";
import type { CudaTensor } from "../cuda/tensor.ts";
import { bytesPerElement } from "../tensor/tensor.ts";
import { shareOf } from "./exchange_plan.ts";
import { planLocalExperts } from "./local_experts.ts";
import type { RankGroup } from "./rank_group.ts";

/** Runs a call of the same number of tokens on every rank. */
export function runByToken(group: RankGroup, call: ExpertsCall<CudaTensor>): CudaTensor {
  const { inputs, shape } = call;
  const { inner, communicator, rank, ranks, stream } = group;
  const { host } = inner;
  const { hidden, experts, topK, dtype, denseWeights, weightsDType } = shape;
  const tokens = shape.tokens * ranks;
  const { start: first, end } = shareOf(experts, ranks, rank);
  using cleanup = new DisposableStack();
  const output = cleanup.use(inner.allocate(dtype, [shape.tokens, hidden]));
  if (tokens === 0) {
    cleanup.move();
    return output;
  }

  using scope = new DisposableStack();
  const bytes = (count: number) => scope.use(inner.allocate("i32", [Math.ceil(count / 4)])).pointer;
  const items = (kernel: string, count: number, args: Parameters<typeof planItems>[3]) =>
    planItems(kernel, count, host.device.multiprocessors, args);
  const { hiddenStates, routerIndices, routingWeights, inputWeights, addend, addendWeights } = inputs;
  const gathers = [hiddenStates, routerIndices, routingWeights, ...inputWeights ? [inputWeights] : []].map((source) => {
    const size = source.shape.reduce((product, length) => product * length, bytesPerElement(source.dtype));
    return { source: { pointer: source.pointer, bytes: size }, target: bytes(size * ranks) };
  });
  const [allHidden = 0n, allIndices = 0n, allWeights = 0n, allScales = null] = gathers.map(({ target }) => target);
  const localIndices = bytes(4 * tokens * topK);
  const sums = bytes(4 * tokens * hidden), ownSums = bytes(4 * shape.tokens * hidden);
  const local = planLocalExperts(
    { group, inputs, shape, allocate: bytes },
    { tokens, topK, hiddenStates: allHidden, routerIndices: localIndices, inputWeights: allScales },
    { maximum: Infinity, expected: shape.tokens * topK }, // of all assignments, one part for each rank
  );
  const launches = [
    items("local_experts", tokens * topK, {
      ...{ indices: allIndices, out: localIndices, n: tokens * topK, first, count: end - first },
    }),
    ...[local.decode, local.sort, local.products].flat(),
    planCombine(
      dtype,
      weightsDType,
      { tokens, topK, weightColumns: denseWeights ? experts : topK, width: hidden },
      {
        ...{ expertOutputs: local.expertOutputs, rows: local.rows, weights: allWeights },
        ...{ indices: denseWeights ? allIndices : null, addend: null, addendWeights: null, out: sums },
      },
      host.device.multiprocessors,
      "f32",
    ),
  ];
  const round = items(`round_sum_${dtype}`, shape.tokens * hidden, {
    ...{ sums: ownSums, addend: addend?.pointer ?? null, addendWeights: addendWeights?.pointer ?? null },
    ...{ out: output.pointer, count: shape.tokens * hidden, width: hidden },
  });
  const exchange = (name: string, work: () => void) => host.queue({ kernel: name, flops: 0, bytes: null }, work);
  const queue = () => {
    exchange(
      "ncclAllGather",
      () =>
        communicator.group(() =>
          gathers.forEach(({ source, target }) => communicator.allGather(source, target, stream))
        ),
    );
    launches.forEach((launch) => host.launch(launch));
    exchange("ncclReduceScatter", () => communicator.reduceScatter(sums, ownSums, shape.tokens * hidden, stream));
    host.launch(round);
  };
  if (host.isCapturing()) queue();
  else {
    const inOut = [...gathers.flatMap(({ source, target }) => [source.pointer, target]), output.pointer];
    const own = [localIndices, sums, ownSums, addend?.pointer ?? null, addendWeights?.pointer ?? null];
    // The plan and the pointers determine all arguments of the launches.
    group.graphs.run(
      local.plan,
      [...inOut, ...own, ...Object.values(local.pointers)],
      queue,
      () => host.stream.capture(queue),
    );
  }
  cleanup.move();
  return output;
}
