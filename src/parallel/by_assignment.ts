// Experts over several GPUs, with the same bits as on one: every assignment travels to the GPU of its expert, and its row travels
// back. Each token's rows are summed in the order of its slots on the GPU that has the token.
import type { ExpertsCall } from "../contract/resolve_experts.ts";
import type { CudaTensor } from "../cuda/tensor.ts";
import { planCombine, planCounts, planItems, planRank, sortChunks, type SortShape } from "../cuda/plan/steps.ts";
import { bytesPerElement } from "../tensor/tensor.ts";
import { digestText, headerLength, planExchange, readTable, shareOf } from "./exchange_plan.ts";
import { partBytes, type RankGroup } from "./rank_group.ts";

/** Runs a call. The expert weights are those of this rank; the sizes are those of the whole layer. */
export async function runByAssignment(
  group: RankGroup,
  { inputs, shape }: ExpertsCall<CudaTensor>,
): Promise<CudaTensor> {
  const { inner, communicator, rank, ranks, stream } = group;
  const { host, steps } = inner;
  const { tokens, hidden, experts, topK, capacity, dtype, denseWeights, weightsDType } = shape;
  const rowBytes = hidden * bytesPerElement(dtype);
  const assignments = tokens * topK;
  const maximum = Math.min(assignments, experts * capacity); // rows that this rank can send
  using scope = new DisposableStack();
  const integers = (count: number) => scope.use(inner.allocate("i32", [count])).pointer;

  // The capacity is applied twice: here to what travels, and by each expert to what arrives. An expert keeps its first tokens, in the
  // order of the ranks, so it never keeps more of a rank than that rank's first ones.
  const sort: SortShape = { count: assignments, experts, topK, capacity, tileRows: 1 };
  const width = headerLength + experts + 1;
  const table = scope.use(inner.allocate("i32", [ranks, width]));
  const ownRow = 4 * rank * width;
  table.buffer.write(Int32Array.of(digestText(JSON.stringify({ ...shape, tokens: 0 })), tokens), ownRow);
  const rowOffsets = table.pointer + BigInt(ownRow + 4 * headerLength);
  const sorted = {
    ...{ indices: inputs.routerIndices.pointer, rowOffsets, tileOffsets: integers(experts + 1) },
    ...{ counts: integers(experts * sortChunks(assignments).blocks), totals: integers(experts) },
  };
  planCounts(sort, sorted).forEach(host.launch);
  communicator.allGather({ pointer: table.pointer + BigInt(ownRow), bytes: 4 * width }, table.pointer, stream);
  const gathered = group.readBack(table.pointer, ranks * width);

  const rows = integers(assignments);
  const rowTokens = scope.use(await steps.full({ dtype: "i32", shape: [maximum], value: -1 }));
  const rowScales = inputs.inputWeights && scope.use(inner.allocate("f32", [maximum, 1]));
  host.launch(planRank(sort, {
    ...{ ...sorted, rows, rowTokens: rowTokens.pointer },
    ...{ inputWeights: inputs.inputWeights?.pointer ?? null, rowScales: rowScales?.pointer ?? null },
  }));
  const packed = scope.use(
    await steps.indexSelect({ source: inputs.hiddenStates, indices: rowTokens, rows: maximum, width: hidden }),
  );

  const { offsets } = readTable(gathered(), ranks, rank);
  const plan = planExchange(offsets, rank);
  const received = scope.use(inner.allocate(dtype, [plan.received, hidden]));
  const scales = rowScales && scope.use(inner.allocate("f32", [plan.received, 1]));
  communicator.group(() => {
    const exchange = (from: CudaTensor, to: CudaTensor, bytes: number) =>
      communicator.exchange(
        partBytes(from.pointer, plan.sends, bytes),
        partBytes(to.pointer, plan.receives, bytes),
        stream,
      );
    exchange(packed, received, rowBytes);
    if (rowScales && scales) exchange(rowScales, scales, 4);
  });

  const computed = plan.received === 0 ? received : scope.use(await compute());
  communicator.exchange(
    partBytes(computed.pointer, plan.receives, rowBytes),
    partBytes(packed.pointer, plan.sends, rowBytes), // its rows have been sent
    stream,
  );
  return combine();

  /** Runs this rank's experts on the received rows, each of which is a token with one assignment. */
  async function compute(): Promise<CudaTensor> {
    const { start: first, end } = shareOf(experts, ranks, rank);
    const shapeOfRows = [plan.received, 1];
    using routerIndices = inner.allocate("i32", shapeOfRows);
    using routingWeights = await steps.full({ dtype: "f32", shape: shapeOfRows, value: 1 });
    host.launch(planItems("received_experts", plan.received, host.device.multiprocessors, {
      ...{ table: table.pointer, out: routerIndices.pointer },
      ...{ ranks, stride: width, experts, first, count: end - first, rows: plan.received },
    }));
    const { gateUpProj, gateUpProjBias, downProj, downProjBias } = inputs;
    return await inner.runExperts({
      inputs: {
        ...{ hiddenStates: received, routerIndices, routingWeights, inputWeights: scales },
        ...{ gateUpProj, gateUpProjBias, downProj, downProjBias },
      },
      shape: {
        ...{ ...shape, tokens: plan.received, experts: end - first, topK: 1 },
        ...{ denseWeights: false, weightsDType: "f32", hasAddend: false },
      },
      onProgress: undefined,
    });
  }

  /** Sums the rows of each token. */
  function combine(): CudaTensor {
    using cleanup = new DisposableStack();
    const output = cleanup.use(inner.allocate(dtype, [tokens, hidden]));
    if (tokens > 0) {
      const sizes = { tokens, topK, weightColumns: denseWeights ? experts : topK, width: hidden };
      host.launch(planCombine(dtype, weightsDType, sizes, {
        ...{ expertOutputs: packed.pointer, rows, weights: inputs.routingWeights.pointer },
        indices: denseWeights ? inputs.routerIndices.pointer : null,
        ...{ addend: inputs.addend?.pointer ?? null, addendWeights: inputs.addendWeights?.pointer ?? null },
        out: output.pointer,
      }));
    }
    cleanup.move();
    return output;
  }
}
