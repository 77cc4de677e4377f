// Experts over several GPUs: every token travels to every GPU, each GPU sums over its own experts, and the sums travel back to be
// added. The sizes are known in advance, so that a call is one graph. Each GPU rounds its sums, so the bits can differ from those of one
// GPU.
import type { ExpertsCall } from "../contract/resolve_experts.ts";
import type { DeviceBytes } from "../nccl/communicator.ts";
import { planCombine, planItems } from "../cuda/plan/steps.ts";
import { type PointerTable, resolveLaunch } from "./resolve_launch.ts";
import type { CudaTensor } from "../cuda/tensor.ts";
import { isPacked } from "../tensor/packed_tensor.ts";
import { bytesPerElement } from "../tensor/tensor.ts";
import { shareOf } from "./exchange_plan.ts";
import { partBytes, type RankGroup } from "./rank_group.ts";

/** Runs a call of the same number of tokens on every rank. */
export function runByToken(group: RankGroup, { inputs, shape }: ExpertsCall<CudaTensor>): CudaTensor {
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
  const plan = group.plan({ ...shape, tokens, experts: end - first, hasAddend: false });
  const items = (kernel: string, count: number, args: Parameters<typeof planItems>[3]) =>
    planItems(kernel, count, host.device.multiprocessors, args);
  const { hiddenStates, routerIndices, routingWeights, inputWeights, addend, addendWeights } = inputs;
  const gathers: { source: DeviceBytes; target: bigint }[] = [];
  const gathered = (source: CudaTensor) => {
    const size = source.shape.reduce((product, length) => product * length, bytesPerElement(source.dtype));
    const target = bytes(size * ranks);
    gathers.push({ source: { pointer: source.pointer, bytes: size }, target });
    return target;
  };
  const allHidden = gathered(hiddenStates), allIndices = gathered(routerIndices), allWeights = gathered(routingWeights);
  const localIndices = bytes(4 * tokens * topK);
  const rowBytes = hidden * bytesPerElement(dtype);
  const sums = bytes(tokens * rowBytes), ownParts = bytes(tokens * rowBytes);
  const expertOutputs = bytes(plan.workspace.expertOutputs), rows = bytes(plan.workspace.rows);
  const pointers: Record<string, bigint | null> = {
    ...{ hiddenStates: allHidden, routerIndices: localIndices, routingWeights: allWeights },
    ...{ inputWeights: inputWeights ? gathered(inputWeights) : null, addend: null, addendWeights: null },
    ...{ gateUpProj: pointerOf(inputs.gateUpProj), gateUpProjBias: inputs.gateUpProjBias?.pointer ?? null },
    ...{ downProj: pointerOf(inputs.downProj), downProjBias: inputs.downProjBias?.pointer ?? null },
    output: sums, // the plan may store activations in it
    ...{ expertOutputs, rows },
  };
  for (const [name, size] of Object.entries(plan.workspace)) if (size > 0) pointers[name] ??= bytes(size);

  const products = plan.launches.filter(({ kernel }) => !kernel.startsWith("combine_"));
  const sizes = { tokens, topK, weightColumns: denseWeights ? experts : topK, width: hidden };
  const launches = [
    items("local_experts", tokens * topK, {
      ...{ indices: allIndices, out: localIndices, n: tokens * topK, first, count: end - first },
    }),
    ...products.map((launch) => resolveLaunch(launch, pointers as PointerTable)),
    planCombine(dtype, weightsDType, sizes, {
      ...{ expertOutputs, rows, weights: allWeights, indices: denseWeights ? allIndices : null },
      ...{ addend: null, addendWeights: null, out: sums },
    }, host.device.multiprocessors),
  ];
  const sum = items(`sum_parts_${dtype}`, shape.tokens * hidden, {
    ...{ parts: ownParts, addend: addend?.pointer ?? null, addendWeights: addendWeights?.pointer ?? null },
    ...{ out: output.pointer, count: shape.tokens * hidden, ranks, width: hidden },
  });
  const parts = Array.from({ length: ranks }, (_, r) => ({ start: r * shape.tokens, rows: shape.tokens }));
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
    exchange(
      "ncclSend",
      () => communicator.exchange(partBytes(sums, parts, rowBytes), partBytes(ownParts, parts, rowBytes), stream),
    );
    host.launch(sum);
  };
  if (host.isCapturing()) queue();
  else {
    const inOut = [...gathers.flatMap(({ source, target }) => [source.pointer, target]), output.pointer];
    const own = [localIndices, ownParts, addend?.pointer ?? null, addendWeights?.pointer ?? null];
    // The plan and the pointers determine all arguments of the launches.
    const addresses = [...inOut, ...own, ...Object.values(pointers)];
    group.graphs.run(plan, addresses, queue, () => host.stream.capture(queue));
  }
  cleanup.move();
  return output;
}

function pointerOf(weight: ExpertsCall<CudaTensor>["inputs"]["gateUpProj"]): bigint {
  return (isPacked(weight) ? weight.parts.values : weight).pointer;
}
