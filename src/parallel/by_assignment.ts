// Experts over several GPUs, with the same bits as on one: each GPU computes the rows of its experts, the rows travel to the GPU that has
// their token, and that GPU sums them in the order of the token's slots.
import type { ExpertsCall } from "../contract/resolve_experts.ts";
import { planCombine, planSort, sortCounts } from "../cuda/plan/steps.ts";
import type { CudaTensor } from "../cuda/tensor.ts";
import { bytesPerElement } from "../tensor/tensor.ts";
import { gathersTokens } from "./exchange_bytes.ts";
import { digestText, type ExchangePlan, headerLength, type Part, readTable } from "./exchange_plan.ts";
import { planLocalExperts } from "./local_experts.ts";
import { partBytes, type RankGroup } from "./rank_group.ts";
import {
  type Arrival,
  type ExchangeCall,
  gatherTokens,
  sendAssignments,
  type SortedAssignments,
} from "./to_experts.ts";

/**
 * Runs a call. The expert weights are those of this rank; the sizes are those of the whole layer.
 *
 * @param known The number of tokens of each rank, if it is known.
 */
export function runByAssignment(
  group: RankGroup,
  { inputs, shape }: ExpertsCall<CudaTensor>,
  known: readonly number[] | undefined,
): CudaTensor {
  if (group.inner.host.isCapturing()) {
    throw new TypeError(
      'Cannot capture an exchange of assignments, because the host needs the counts of each call: use exchange: "tokens"',
    );
  }
  using scope = new DisposableStack();
  const allocate = (bytes: number) => scope.use(group.inner.allocate("i32", [Math.ceil(bytes / 4)])).pointer;
  const call: ExchangeCall = { group, inputs, shape, allocate };
  const sorted = sortAssignments(call);
  const gathers = gathersTokens(group.ranks, shape.topK);
  const arrival = gathers ? gatherTokens(call, sorted, known) : sendAssignments(call, sorted);
  const order = allocate(arrival.plan.order.byteLength);
  group.write(order, arrival.plan.order);
  const expertOutputs = computeRows(call, arrival);
  return combine(call, sorted.rows, returnRows(call, arrival.plan, { expertOutputs, order, maximum: sorted.maximum }));
}

/** Sorts the assignments of this rank, and begins to gather the numbers of all ranks. */
function sortAssignments({ group, inputs, shape, allocate }: ExchangeCall): SortedAssignments {
  const { inner: { host }, communicator, rank, ranks, stream } = group;
  const { tokens, topK, experts, capacity } = shape;
  const width = headerLength + experts + 1;
  const table = allocate(4 * ranks * width), own = table + BigInt(4 * rank * width);
  const header = Int32Array.of(digestText(JSON.stringify({ ...shape, tokens: 0 })), tokens);
  host.context.call("cuMemcpyHtoDAsync_v2", own, header, BigInt(header.byteLength), stream);

  const count = tokens * topK, maximum = Math.min(count, experts * capacity);
  const sort = { count, experts, topK, capacity, tileRows: 1 };
  const rows = allocate(4 * count), rowTokens = allocate(4 * maximum);
  const rowScales = inputs.inputWeights ? allocate(4 * maximum) : null;
  if (maximum > 0) host.context.call("cuMemsetD8Async", rowTokens, 0xff, BigInt(4 * maximum), stream);
  planSort(sort, {
    ...{ indices: inputs.routerIndices.pointer, inputWeights: inputs.inputWeights?.pointer ?? null },
    ...{ counts: allocate(4 * sortCounts(sort)), totals: allocate(4 * experts) },
    tileOffsets: allocate(4 * (experts + 1)),
    ...{ rowOffsets: own + BigInt(4 * headerLength), rows, rowTokens, rowScales },
  }).forEach((launch) => host.launch(launch));

  communicator.allGather({ pointer: own, bytes: 4 * width }, table, stream);
  const gathered = group.readBack(table, ranks * width);
  let numbers: ReturnType<typeof readTable> | undefined;
  return {
    ...{ maximum, rows, rowTokens, rowScales, table, width },
    numbers: () => numbers ??= readTable(gathered(), ranks, rank),
  };
}

/** Computes the rows of this rank's experts: [rows, H], in the order of the experts, then of the tokens. */
function computeRows({ group, inputs, shape, allocate }: ExchangeCall, { plan: { computed }, local }: Arrival): bigint {
  if (computed === 0) return 0n;
  const rows = { maximum: computed, expected: computed };
  const { launches, expertOutputs } = planLocalExperts(group, { inputs, shape }, local, rows, allocate);
  for (const launch of launches) group.inner.host.launch(launch);
  return expertOutputs;
}

/** Sends the computed rows to the ranks that have their tokens. Returns the rows of this rank's sorted assignments: [maximum, H]. */
function returnRows(
  { group, shape, allocate }: ExchangeCall,
  { own, others, computed }: ExchangePlan,
  { expertOutputs, order, maximum }: {
    readonly expertOutputs: bigint;
    readonly order: bigint;
    readonly maximum: number;
  },
): bigint {
  const { inner: { steps }, communicator, rank } = group;
  const bytes = shape.hidden * bytesPerElement(shape.dtype);
  const at = (pointer: bigint, row: number) => pointer + BigInt(row * bytes);
  const select = (start: number, end: number, out: bigint) => {
    const sizes = { rows: end - start, sourceRows: computed, bytes };
    if (end > start) steps.selectRows(expertOutputs, order + BigInt(4 * start), out, sizes);
  };
  const count = others.reduce((sum, { rows }) => sum + rows, 0);
  const { start = 0, rows = 0 } = others[rank] ?? {}, end = start + rows; // of this rank's own tokens
  const packed = allocate(count * bytes), returned = allocate(maximum * bytes);
  select(0, start, packed);
  select(end, count, at(packed, end));
  const toOthers = (pointer: bigint, parts: readonly Part[]) =>
    partBytes(pointer, parts.map((part, r) => r === rank ? { ...part, rows: 0 } : part), bytes);
  group.beside(
    (stream) => communicator.exchange(toOthers(packed, others), toOthers(returned, own), stream),
    () => select(start, end, at(returned, own[rank]?.start ?? 0)),
  );
  return returned;
}

/** Sums the rows of each token of this rank. */
function combine({ group, inputs, shape }: ExchangeCall, rows: bigint, expertOutputs: bigint): CudaTensor {
  const { inner } = group;
  const { tokens, hidden, topK, experts, dtype, denseWeights, weightsDType } = shape;
  using cleanup = new DisposableStack();
  const output = cleanup.use(inner.allocate(dtype, [tokens, hidden]));
  if (tokens > 0) {
    const sizes = { tokens, topK, weightColumns: denseWeights ? experts : topK, width: hidden };
    inner.host.launch(planCombine(dtype, weightsDType, sizes, {
      ...{ expertOutputs, rows, weights: inputs.routingWeights.pointer },
      indices: denseWeights ? inputs.routerIndices.pointer : null,
      ...{ addend: inputs.addend?.pointer ?? null, addendWeights: inputs.addendWeights?.pointer ?? null },
      out: output.pointer,
    }, inner.host.device.multiprocessors));
  }
  cleanup.move();
  return output;
}
