// Sends the row of each assignment to the rank of its expert, and the computed row back. Rows beyond the capacity of all ranks are
// dropped there.
import { planItems } from "../cuda/plan/steps.ts";
import { bytesPerElement } from "../tensor/tensor.ts";
import { type ExchangeCall, returnRows, type SortedAssignments } from "./exchange_call.ts";
import { headerLength, planExchange, shareOf } from "./exchange_plan.ts";
import { planLocalExperts } from "./local_experts.ts";
import { partBytes } from "./rank_group.ts";

/** Computes the rows of this rank's sorted assignments: [maximum, H]. */
export function exchangeRows(
  call: ExchangeCall,
  { maximum, rowTokens, rowScales, table, width, numbers }: SortedAssignments,
): bigint {
  const { group, inputs, shape, allocate } = call;
  const { inner: { host, steps }, communicator, rank, ranks, stream } = group;
  const rowBytes = shape.hidden * bytesPerElement(shape.dtype);
  const packed = allocate(maximum * rowBytes);
  const sizes = { rows: maximum, sourceRows: shape.tokens, bytes: rowBytes };
  steps.selectRows(inputs.hiddenStates.pointer, rowTokens, packed, sizes);

  const plan = planExchange(numbers().offsets, rank, { capacity: shape.capacity });
  const { own, others, order: { length: tokens }, computed } = plan;
  const hiddenStates = allocate(tokens * rowBytes);
  const inputWeights = rowScales === null ? null : allocate(4 * tokens);
  const exchange = (from: bigint, to: bigint, bytes: number) =>
    communicator.exchange(partBytes(from, own, bytes), partBytes(to, others, bytes), stream);
  communicator.group(() => {
    exchange(packed, hiddenStates, rowBytes);
    if (rowScales !== null && inputWeights !== null) exchange(rowScales, inputWeights, 4);
  });

  // A received row is a token with one assignment.
  let expertOutputs = 0n;
  if (computed > 0) {
    const { start: first, end } = shareOf(shape.experts, ranks, rank);
    const routerIndices = allocate(4 * tokens);
    host.launch(planItems("received_experts", tokens, host.device.multiprocessors, {
      ...{ offsets: table + BigInt(4 * headerLength), out: routerIndices, ranks, stride: width },
      ...{ first, count: end - first, rows: tokens },
    }));
    const local = planLocalExperts(
      call,
      { tokens, topK: 1, hiddenStates, routerIndices, inputWeights },
      { maximum: computed, expected: computed },
    );
    [local.decode, local.sort, local.products].flat().forEach((launch) => host.launch(launch));
    expertOutputs = local.expertOutputs;
  }
  const returned = allocate(maximum * rowBytes);
  returnRows(call, plan, expertOutputs, returned);
  return returned;
}
