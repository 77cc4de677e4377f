// Experts over several GPUs, with the same bits as on one: each GPU computes the rows of its experts, the rows travel to the GPU that has
// their token, and that GPU sums them in the order of the token's slots.
import type { ExpertsCall } from "../contract/resolve_experts.ts";
import { planCombine, planSort, sortCounts } from "../cuda/plan/steps.ts";
import type { CudaTensor } from "../cuda/tensor.ts";
import { digestCall, headerLength, readTable } from "./exchange_plan.ts";
import { canOverlap, exchangeTokens } from "./exchange_tokens.ts";
import { exchangeRows } from "./exchange_rows.ts";
import type { ExchangeCall, SortedAssignments } from "./exchange_call.ts";
import type { RankGroup } from "./rank_group.ts";

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
  const tokens = known ?? sorted.numbers().tokens;
  const rows = canOverlap(call, tokens) ? exchangeTokens(call, sorted, tokens) : exchangeRows(call, sorted);
  return combine(call, sorted.rows, rows);
}

/** Sorts the assignments of this rank, and begins to gather the numbers of all ranks. */
function sortAssignments({ group, inputs, shape, allocate }: ExchangeCall): SortedAssignments {
  const { inner: { host }, communicator, rank, ranks, stream } = group;
  const { tokens, topK, experts, capacity } = shape;
  const width = headerLength + experts + 1;
  const table = allocate(4 * ranks * width), own = table + BigInt(4 * rank * width);
  const header = Int32Array.of(digestCall(shape), tokens);
  host.context.call("cuMemcpyHtoDAsync_v2", own, header, BigInt(header.byteLength), stream);

  const count = tokens * topK, maximum = Math.min(count, experts * capacity);
  const sort = { count, experts, topK, capacity, tileRows: 1 };
  const rows = allocate(4 * count), rowTokens = allocate(4 * maximum);
  const rowScales = inputs.inputWeights ? allocate(4 * maximum) : null;
  if (maximum > 0) host.context.call("cuMemsetD8Async", rowTokens, 0xff, BigInt(4 * maximum), stream);
  const rowOffsets = own + BigInt(4 * headerLength);
  planSort(sort, {
    ...{ indices: inputs.routerIndices.pointer, inputWeights: inputs.inputWeights?.pointer ?? null },
    ...{ counts: allocate(4 * sortCounts(sort)), totals: allocate(4 * experts) },
    ...{ tileOffsets: allocate(4 * (experts + 1)), rowOffsets, rows, rowTokens, rowScales },
  }).forEach((launch) => host.launch(launch));

  communicator.allGather({ pointer: own, bytes: 4 * width }, table, stream);
  const gathered = group.readBack(table, ranks * width);
  let numbers: ReturnType<typeof readTable> | undefined;
  return {
    ...{ maximum, rows, rowTokens, rowScales, rowOffsets, table, width },
    numbers: () => numbers ??= readTable(gathered(), ranks, rank),
  };
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
