// Sends every token to every rank and a row for each assignment back, both during the products of this rank's own tokens:
//
//   products: own tokens, first experts | the other ranks' tokens | own tokens, last experts
//   exchange: tokens to the experts     |                         | rows back
import { planItems } from "../cuda/plan/steps.ts";
import type { CudaTensor } from "../cuda/tensor.ts";
import { bytesPerElement } from "../tensor/tensor.ts";
import { exchangeBytes, gathersTokens } from "./exchange_bytes.ts";
import { type ExchangeCall, returnRows, type SortedAssignments } from "./exchange_call.ts";
import { type Part, planExchange, shareOf } from "./exchange_plan.ts";
import { type LocalExperts, planLocalExperts } from "./local_experts.ts";
import { exchangeMultiprocessors, partBytes } from "./rank_group.ts";

/**
 * Whether a call can run this way: no assignment is dropped, sending every token is less than sending a row for each assignment, and
 * there are enough rows to read the weights twice.
 *
 * @param tokens The number of tokens of each rank.
 */
export function canOverlap({ group: { ranks, overlapRows }, shape }: ExchangeCall, tokens: readonly number[]): boolean {
  const { capacity, experts, topK } = shape;
  const total = tokens.reduce((sum, count) => sum + count, 0);
  const assignments = total * topK;
  return ranks > 1 && gathersTokens(ranks, topK) && capacity >= assignments &&
    assignments >= overlapRows * experts * ranks;
}

/**
 * Computes the rows of this rank's sorted assignments: [maximum, H].
 *
 * @param tokens The number of tokens of each rank.
 */
export function exchangeTokens(
  { group, inputs, shape, allocate }: ExchangeCall,
  sorted: SortedAssignments,
  tokens: readonly number[],
): bigint {
  // The rows of own tokens have numbers among those of all experts, so the capacity does not bound them.
  const call = { group, inputs, shape: { ...shape, capacity: Infinity }, allocate };
  const { inner: { host }, communicator, rank, ranks } = group;
  const { topK, hidden, experts } = shape;
  const element = bytesPerElement(shape.dtype);
  const { start: first, end } = shareOf(experts, ranks, rank);
  const count = end - first;
  const localExperts = (indices: bigint, n: number, out: bigint) =>
    host.launch(planItems("local_experts", n, host.device.multiprocessors, { indices, out, n, first, count }));
  let decoded = false;
  const run = ({ decode, products }: LocalExperts) => {
    for (const launch of [...decoded ? [] : decode, ...products]) host.launch(launch);
    decoded ||= decode.length > 0;
  };

  const returned = allocate(sorted.maximum * hidden * element);
  const ownIndices = allocate(4 * shape.tokens * topK);
  const own = shape.tokens === 0 ? undefined : planLocalExperts(
    call,
    {
      ...{ tokens: shape.tokens, topK, hiddenStates: inputs.hiddenStates.pointer },
      ...{ routerIndices: ownIndices, inputWeights: null },
    },
    { maximum: Infinity, expected: shape.tokens * topK / ranks },
    {
      ...{ rowOffsets: sorted.rowOffsets + BigInt(4 * first), rows: sorted.rows, rowTokens: sorted.rowTokens },
      ...{ rowScales: sorted.rowScales, expertOutputs: returned },
    },
    exchangeMultiprocessors,
  );
  // Most products find everything in the sorted lists.
  if (own?.products.some(({ arguments: { indices } }) => indices === ownIndices)) {
    localExperts(inputs.routerIndices.pointer, shape.tokens * topK, ownIndices);
  }
  const computeOwn = (first: number, end: number) => {
    if (!own || first === end) return;
    const { rowOffsets, tileOffsets } = own.pointers;
    host.launch({
      ...{ kernel: "tile_offsets", blocks: 1, threads: 32, sharedBytes: 0 },
      arguments: { rowOffsets, tileOffsets, experts: count, first, end, tileRows: own.plan.tile.rows },
    });
    run(own);
  };
  const { toExperts, back } = exchangeBytes({ tokens: shape.tokens, hidden, topK, element }, ranks, "assignments");
  // The kernels of packed weights with larger tiles do not read the tile offsets: they compute all experts at once.
  const inParts = own?.products.every(({ arguments: args }) => "tileOffsets" in args);
  const middle = inParts ? Math.round(count * toExperts / (toExperts + back)) : count;

  const parts: Part[] = [];
  let received = 0;
  for (const [r, rows] of tokens.entries()) {
    parts.push({ start: received, rows: r === rank ? 0 : rows });
    received += parts.at(-1)?.rows ?? 0;
  }
  const gathered = (source: CudaTensor, rowBytes: number) => {
    const target = allocate(received * rowBytes), bytes = shape.tokens * rowBytes;
    const send = parts.map((_, r) => ({ pointer: source.pointer, bytes: r === rank ? 0 : bytes }));
    const receive = partBytes(target, parts, rowBytes);
    return { target, exchange: (stream: bigint) => communicator.exchange(send, receive, stream) };
  };
  const hiddenStates = gathered(inputs.hiddenStates, hidden * element);
  const indices = gathered(inputs.routerIndices, 4 * topK);
  const weights = inputs.inputWeights && gathered(inputs.inputWeights, 4 * topK);
  group.beside(
    (stream) =>
      communicator.group(() => [hiddenStates, indices, weights].forEach((tensor) => tensor?.exchange(stream))),
    () => computeOwn(0, middle),
  );

  const plan = planExchange(sorted.numbers().offsets, rank, { own: false });
  let expertOutputs = 0n;
  if (plan.computed > 0) {
    const n = received * topK, routerIndices = allocate(4 * n);
    localExperts(indices.target, n, routerIndices);
    const local = planLocalExperts(
      call,
      {
        ...{ tokens: received, topK, hiddenStates: hiddenStates.target, routerIndices },
        inputWeights: weights?.target ?? null,
      },
      { maximum: plan.computed, expected: plan.computed },
      own ? { gateUpDense: own.pointers.gateUpDense, downDense: own.pointers.downDense } : {},
    );
    local.sort.forEach((launch) => host.launch(launch));
    run(local);
    expertOutputs = local.expertOutputs;
  }
  returnRows(call, plan, expertOutputs, returned, () => computeOwn(middle, count));
  return returned;
}
