// Experts over several GPUs, with the same bits as on one: every assignment travels to the GPU of its expert, and its row travels
// back. Each token's rows are summed in the order of its slots on the GPU that has the token.
//
// Many tokens are split into chunks: while one chunk is computed, the rows of others travel on a second stream.
import type { ExpertsCall } from "../contract/resolve_experts.ts";
import { planCombine, planItems, planSort, sortCounts, type SortShape } from "../cuda/plan/steps.ts";
import type { CudaTensor } from "../cuda/tensor.ts";
import { bytesPerElement } from "../tensor/tensor.ts";
import { digestText, type ExchangePlan, headerLength, planExchange, readTable, shareOf } from "./exchange_plan.ts";
import { partBytes, type RankGroup } from "./rank_group.ts";

/** Consecutive tokens whose rows travel together. */
interface Chunk {
  readonly index: number;
  readonly tokens: number;
  readonly assignments: number;
  /** The first token and the first assignment. */
  readonly firstToken: number;
  readonly firstAssignment: number;
  /** The most rows that the chunk can send. */
  readonly maximum: number;
  readonly sort: SortShape;
}

/** The memory of a chunk after its assignments were sorted. */
interface SortedChunk extends Chunk {
  /** [tokens, K]: the row of each assignment in `packed`, or -1. */
  readonly rows: bigint;
  /** [maximum, H]: the rows to send; later the rows that come back. */
  readonly packed: CudaTensor;
  /** [maximum, 1]: the input weight of each row. */
  readonly scales: CudaTensor | undefined;
}

/**
 * Runs a call. The expert weights are those of this rank; the sizes are those of the whole layer.
 *
 * @param chunks The number of chunks, the same on all ranks. Must be 1 for a finite capacity, which depends on the order of all tokens.
 */
export async function runByAssignment(
  group: RankGroup,
  { inputs, shape }: ExpertsCall<CudaTensor>,
  chunks: number,
): Promise<CudaTensor> {
  const { inner, communicator, rank, ranks } = group;
  const { host, steps } = inner;
  const { hidden, experts, topK, capacity, dtype, denseWeights, weightsDType } = shape;
  if (host.isCapturing()) {
    throw new TypeError(
      'Cannot capture an exchange of assignments, because the host needs the counts of each call: use exchange: "tokens"',
    );
  }
  const rowBytes = hidden * bytesPerElement(dtype);
  using scope = new DisposableStack();
  const integers = (count: number) => scope.use(inner.allocate("i32", [count])).pointer;
  const at = (tensor: CudaTensor, row: number) =>
    tensor.pointer + BigInt(row * (tensor.shape[1] ?? 1) * bytesPerElement(tensor.dtype));

  const width = headerLength + chunks * (experts + 1);
  const table = scope.use(inner.allocate("i32", [ranks, width]));
  const offsetsAt = (r: number, chunk: number) =>
    table.pointer + BigInt(4 * (r * width + headerLength + chunk * (experts + 1)));

  const plans = await exchangeCounts();
  const exchangeStream = chunks > 1 ? group.exchangeStream : host.stream;
  const arrivals = plans.sorted.map((chunk, i) => dispatch(chunk, plans.exchanges[i]));
  for (const arrival of arrivals) await returnRows(arrival);
  return combine();

  function split(): Chunk[] {
    return Array.from({ length: chunks }, (_, index) => {
      const { start, end } = shareOf(shape.tokens, chunks, index);
      const tokens = end - start, assignments = tokens * topK;
      // The capacity is applied twice: here to what travels, and by each expert to what arrives. An expert keeps its first tokens, in
      // the order of the ranks, so it never keeps more of a rank than that rank's first ones.
      const sort = { count: assignments, experts, topK, capacity, tileRows: 1 };
      const maximum = Math.min(assignments, experts * capacity);
      return { index, tokens, assignments, firstToken: start, firstAssignment: start * topK, maximum, sort };
    });
  }

  /** Sorts the assignments, gathers the counts of all ranks, and packs the rows to send meanwhile. */
  async function exchangeCounts(): Promise<{ sorted: SortedChunk[]; exchanges: ExchangePlan[] }> {
    const header = Int32Array.of(digestText(JSON.stringify({ ...shape, tokens: 0, chunks })), shape.tokens);
    table.buffer.write(header, 4 * rank * width);
    const counted = await Array.fromAsync(split(), async (chunk) => {
      const { assignments, maximum, sort } = chunk;
      const rows = integers(assignments);
      const rowTokens = scope.use(await steps.full({ dtype: "i32", shape: [maximum], value: -1 }));
      const scales = inputs.inputWeights && scope.use(inner.allocate("f32", [maximum, 1]));
      planSort(sort, {
        indices: at(inputs.routerIndices, chunk.firstToken),
        inputWeights: inputs.inputWeights ? at(inputs.inputWeights, chunk.firstToken) : null,
        ...{ counts: integers(sortCounts(sort)), totals: integers(experts), tileOffsets: integers(experts + 1) },
        ...{ rowOffsets: offsetsAt(rank, chunk.index), rows, rowTokens: rowTokens.pointer },
        rowScales: scales?.pointer ?? null,
      }).forEach((launch) => host.launch(launch));
      return { ...chunk, rows, rowTokens, scales };
    });
    const ownRow = table.pointer + BigInt(4 * rank * width);
    communicator.allGather({ pointer: ownRow, bytes: 4 * width }, table.pointer, group.stream);
    const gathered = group.readBack(table.pointer, ranks * width);

    const sorted = counted.map(({ rowTokens, ...chunk }): SortedChunk => {
      const packed = scope.use(inner.allocate(dtype, [chunk.maximum, hidden]));
      const sizes = { rows: chunk.maximum, sourceRows: chunk.tokens, bytes: rowBytes };
      steps.selectRows(at(inputs.hiddenStates, chunk.firstToken), rowTokens.pointer, packed.pointer, sizes);
      return { ...chunk, packed };
    });

    const { offsets } = readTable(gathered(), ranks, rank);
    const exchanges = sorted.map(({ index }) => {
      const start = index * (experts + 1);
      return planExchange(offsets.map((row) => row.subarray(start, start + experts + 1)), rank);
    });
    return { sorted, exchanges };
  }

  /** Sends the rows of a chunk to the GPUs of their experts. */
  function dispatch(chunk: SortedChunk, plan: ExchangePlan | undefined) {
    if (!plan) throw new RangeError(`Chunk ${chunk.index} has no plan`);
    const received = scope.use(inner.allocate(dtype, [plan.received, hidden]));
    const scales = chunk.scales && scope.use(inner.allocate("f32", [plan.received, 1]));
    group.follow(exchangeStream, host.stream);
    communicator.group(() => {
      exchange(chunk.packed, plan.sends, received, plan.receives, rowBytes);
      if (chunk.scales && scales) exchange(chunk.scales, plan.sends, scales, plan.receives, 4);
    });
    return { chunk, plan, received, scales, arrived: group.mark(exchangeStream) };
  }

  function exchange(
    from: CudaTensor,
    sends: ExchangePlan["sends"],
    to: CudaTensor,
    receives: ExchangePlan["receives"],
    bytes: number,
  ): void {
    const [out, into] = [partBytes(from.pointer, sends, bytes), partBytes(to.pointer, receives, bytes)];
    communicator.exchange(out, into, exchangeStream.handle);
  }

  /** Runs this rank's experts on the rows that arrived, and sends the results back. */
  async function returnRows({ chunk, plan, received, scales, arrived }: ReturnType<typeof dispatch>): Promise<void> {
    arrived.block(host.stream);
    const computed = plan.received === 0 ? received : scope.use(await compute(chunk, plan, received, scales));
    group.follow(exchangeStream, host.stream);
    exchange(computed, plan.receives, chunk.packed, plan.sends, rowBytes); // its rows have been sent
  }

  /** Runs this rank's experts on the received rows, each of which is a token with one assignment. */
  async function compute(
    { index }: Chunk,
    { received: rows }: ExchangePlan,
    received: CudaTensor,
    inputWeights: CudaTensor | undefined,
  ): Promise<CudaTensor> {
    const { start: first, end } = shareOf(experts, ranks, rank);
    using routerIndices = inner.allocate("i32", [rows, 1]);
    using routingWeights = await steps.full({ dtype: "f32", shape: [rows, 1], value: 1 });
    host.launch(planItems("received_experts", rows, host.device.multiprocessors, {
      ...{ offsets: offsetsAt(0, index), out: routerIndices.pointer },
      ...{ ranks, stride: width, first, count: end - first, rows },
    }));
    const { gateUpProj, gateUpProjBias, downProj, downProjBias } = inputs;
    return await inner.runExperts({
      inputs: {
        ...{ hiddenStates: received, routerIndices, routingWeights, inputWeights },
        ...{ gateUpProj, gateUpProjBias, downProj, downProjBias },
      },
      shape: {
        ...{ ...shape, tokens: rows, experts: end - first, topK: 1 },
        ...{ denseWeights: false, weightsDType: "f32", hasAddend: false },
      },
      onProgress: undefined,
    });
  }

  /** Sums the rows of each token. */
  function combine(): CudaTensor {
    using cleanup = new DisposableStack();
    const output = cleanup.use(inner.allocate(dtype, [shape.tokens, hidden]));
    group.follow(host.stream, exchangeStream);
    for (const { tokens, firstToken, packed, rows } of plans.sorted) {
      if (tokens === 0) continue;
      const sizes = { tokens, topK, weightColumns: denseWeights ? experts : topK, width: hidden };
      const from = (tensor: CudaTensor | undefined) => tensor ? at(tensor, firstToken) : null;
      host.launch(planCombine(dtype, weightsDType, sizes, {
        ...{ expertOutputs: packed.pointer, rows, weights: at(inputs.routingWeights, firstToken) },
        indices: denseWeights ? at(inputs.routerIndices, firstToken) : null,
        ...{ addend: from(inputs.addend), addendWeights: from(inputs.addendWeights) },
        out: at(output, firstToken),
      }, host.device.multiprocessors));
    }
    cleanup.move();
    return output;
  }
}
