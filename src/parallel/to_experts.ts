// The two ways in which tokens reach the GPUs of their experts in `by_assignment.ts`.
import type { ExpertsCall } from "../contract/resolve_experts.ts";
import { planItems } from "../cuda/plan/steps.ts";
import type { CudaTensor } from "../cuda/tensor.ts";
import { bytesPerElement } from "../tensor/tensor.ts";
import { type ExchangePlan, headerLength, type Part, planExchange, type readTable, shareOf } from "./exchange_plan.ts";
import type { LocalTokens } from "./local_experts.ts";
import { partBytes, type RankGroup } from "./rank_group.ts";

/** A call, and where its temporary memory comes from. */
export interface ExchangeCall extends Pick<ExpertsCall<CudaTensor>, "inputs" | "shape"> {
  readonly group: RankGroup;
  /** Allocates memory that is freed at the end of the call. */
  allocate(bytes: number): bigint;
}

/** The assignments of this rank, sorted by expert. */
export interface SortedAssignments {
  /** The maximum number of rows. */
  readonly maximum: number;
  /** [T, K], i32: the row of each assignment, or -1. */
  readonly rows: bigint;
  /** [maximum], i32: the token of each row, or -1. */
  readonly rowTokens: bigint;
  /** [maximum], f32: the input weight of each row. */
  readonly rowScales: bigint | null;
  /** [ranks, width], i32: the numbers of all ranks. */
  readonly table: bigint;
  /** The number of integers for a rank in the table. */
  readonly width: number;
  /** Waits for the table. */
  readonly numbers: () => ReturnType<typeof readTable>;
}

/** The tokens of this rank's experts, and how their rows travel. */
export interface Arrival {
  readonly plan: ExchangePlan;
  readonly local: LocalTokens;
}

/**
 * Sends every token to every rank. The host waits for the numbers of all ranks meanwhile.
 *
 * @param known The number of tokens of each rank, if it is known.
 */
export function gatherTokens(
  { group, inputs, shape, allocate }: ExchangeCall,
  { numbers }: SortedAssignments,
  known: readonly number[] | undefined,
): Arrival {
  const { inner: { host }, communicator, rank, ranks } = group;
  const { topK } = shape;
  const parts: Part[] = [];
  let tokens = 0;
  for (const rows of known ?? numbers().tokens) {
    parts.push({ start: tokens, rows });
    tokens += rows;
  }
  const gathered = (source: CudaTensor, rowBytes: number) => {
    const target = allocate(tokens * rowBytes), bytes = shape.tokens * rowBytes;
    const into = partBytes(target, parts, rowBytes);
    const send = parts.map((_, r) => ({ pointer: source.pointer, bytes: r === rank ? 0 : bytes }));
    const receive = into.map((part, r) => r === rank ? { ...part, bytes: 0 } : part);
    const { stream, context } = host;
    return {
      target,
      exchange: (on: bigint) => communicator.exchange(send, receive, on),
      copyOwn: () =>
        bytes > 0 &&
        context.call("cuMemcpyDtoDAsync_v2", into[rank]?.pointer ?? 0n, source.pointer, BigInt(bytes), stream.handle),
    };
  };
  const hiddenStates = gathered(inputs.hiddenStates, shape.hidden * bytesPerElement(shape.dtype));
  const indices = gathered(inputs.routerIndices, 4 * topK);
  const weights = inputs.inputWeights && gathered(inputs.inputWeights, 4 * topK);
  const all = [hiddenStates, indices, ...weights ? [weights] : []];
  group.beside(
    (stream) => communicator.group(() => all.forEach(({ exchange }) => exchange(stream))),
    () => all.forEach(({ copyOwn }) => copyOwn()),
  );

  const { start: first, end } = shareOf(shape.experts, ranks, rank);
  const routerIndices = allocate(4 * tokens * topK);
  const n = tokens * topK;
  if (n > 0) {
    host.launch(planItems("local_experts", n, host.device.multiprocessors, {
      ...{ indices: indices.target, out: routerIndices, n, first, count: end - first },
    }));
  }
  const plan = planExchange(numbers().offsets, rank, shape.capacity);
  const inputWeights = weights?.target ?? null;
  return { plan, local: { tokens, topK, hiddenStates: hiddenStates.target, routerIndices, inputWeights } };
}

/** Sends the row of each assignment to the rank of its expert. There, it is a token with one assignment. */
export function sendAssignments(
  { group, inputs, shape, allocate }: ExchangeCall,
  { maximum, rowTokens, rowScales, table, width, numbers }: SortedAssignments,
): Arrival {
  const { inner: { host, steps }, communicator, rank, ranks, stream } = group;
  const rowBytes = shape.hidden * bytesPerElement(shape.dtype);
  const packed = allocate(maximum * rowBytes);
  const sizes = { rows: maximum, sourceRows: shape.tokens, bytes: rowBytes };
  steps.selectRows(inputs.hiddenStates.pointer, rowTokens, packed, sizes);

  const plan = planExchange(numbers().offsets, rank, shape.capacity);
  const { own, others, order: { length: tokens } } = plan;
  const hiddenStates = allocate(tokens * rowBytes);
  const inputWeights = rowScales === null ? null : allocate(4 * tokens);
  const exchange = (from: bigint, to: bigint, bytes: number) =>
    communicator.exchange(partBytes(from, own, bytes), partBytes(to, others, bytes), stream);
  communicator.group(() => {
    exchange(packed, hiddenStates, rowBytes);
    if (rowScales !== null && inputWeights !== null) exchange(rowScales, inputWeights, 4);
  });

  const { start: first, end } = shareOf(shape.experts, ranks, rank);
  const routerIndices = allocate(4 * tokens);
  if (tokens > 0) {
    host.launch(planItems("received_experts", tokens, host.device.multiprocessors, {
      ...{ offsets: table + BigInt(4 * headerLength), out: routerIndices, ranks, stride: width },
      ...{ first, count: end - first, rows: tokens },
    }));
  }
  return { plan, local: { tokens, topK: 1, hiddenStates, routerIndices, inputWeights } };
}
