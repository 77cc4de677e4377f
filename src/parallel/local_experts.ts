// What one rank computes: the rows of its own experts, before they are summed.
import type { ExpertsCall } from "../contract/resolve_experts.ts";
import type { KernelLaunch } from "../cuda/driver/kernel.ts";
import type { Plan, RowCounts } from "../cuda/plan/experts.ts";
import type { CudaTensor } from "../cuda/tensor.ts";
import { partNames, partPointers } from "../cuda/weight_pointers.ts";
import { isPacked } from "../tensor/packed_tensor.ts";
import { bytesPerElement } from "../tensor/tensor.ts";
import { shareOf } from "./exchange_plan.ts";
import type { RankGroup } from "./rank_group.ts";
import { resolveLaunch } from "./resolve_launch.ts";

/** The tokens on which the experts of a rank work. */
export interface LocalTokens {
  readonly tokens: number;
  readonly topK: number;
  /** [tokens, H]. */
  readonly hiddenStates: bigint;
  /** [tokens, K]: numbers of this rank's experts, or -1. */
  readonly routerIndices: bigint;
  /** [tokens, K], f32. */
  readonly inputWeights: bigint | null;
}

/** The launches that compute the rows of a rank's experts. */
export interface LocalExperts {
  readonly plan: Plan;
  readonly launches: readonly KernelLaunch[];
  /** All pointers of the launches. */
  readonly addresses: readonly (bigint | null)[];
  /** [N, H]: the rows, in the order of the experts, then of the tokens. */
  readonly expertOutputs: bigint;
  /** [tokens, K]: the row of each assignment, or -1. */
  readonly rows: bigint;
}

/**
 * Plans the rows of this rank's experts.
 *
 * @param call The call of the whole layer, with the weights of this rank.
 * @param rows How many rows there can be.
 * @param allocate Allocates temporary memory.
 */
export function planLocalExperts(
  group: RankGroup,
  { inputs, shape }: Pick<ExpertsCall<CudaTensor>, "inputs" | "shape">,
  { tokens, topK, hiddenStates, routerIndices, inputWeights }: LocalTokens,
  rows: RowCounts,
  allocate: (bytes: number) => bigint,
): LocalExperts {
  const { start, end } = shareOf(shape.experts, group.ranks, group.rank);
  const plan = group.plan(
    { ...shape, tokens, topK, experts: end - start, hasAddend: false, denseWeights: false },
    rows,
  );
  const { gateUpProj, gateUpProjBias, downProj, downProjBias } = inputs;
  const pointerOf = (weight: typeof gateUpProj) => (isPacked(weight) ? weight.parts.values : weight).pointer;
  const parts = partPointers(inputs, ({ pointer }) => pointer);
  const workspace = Object.entries(plan.workspace).map(([name, bytes]) => [name, bytes > 0 ? allocate(bytes) : null]);
  const pointers = {
    ...{ hiddenStates, routerIndices, inputWeights, routingWeights: null, addend: null, addendWeights: null },
    ...{ gateUpProj: pointerOf(gateUpProj), gateUpProjBias: gateUpProjBias?.pointer ?? null },
    ...{ downProj: pointerOf(downProj), downProjBias: downProjBias?.pointer ?? null },
    ...Object.fromEntries(partNames.map((name, i) => [name, parts[i] ?? null])),
    // The activations can be stored in the output.
    output: plan.workspace.activations > 0 ? null : allocate(tokens * shape.hidden * bytesPerElement(shape.dtype)),
    ...Object.fromEntries(workspace),
  };
  const launches = plan.launches.filter(({ kernel }) => !kernel.startsWith("combine_"));
  return {
    plan,
    launches: launches.map((launch) => resolveLaunch(launch, pointers)),
    addresses: Object.values(pointers),
    ...{ expertOutputs: pointers.expertOutputs, rows: pointers.rows },
  };
}
