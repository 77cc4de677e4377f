// What one rank computes: the rows of its own experts, before they are summed.
import type { KernelLaunch } from "../cuda/driver/kernel.ts";
import type { Plan, PlannedLaunch, RowCounts, WorkspaceName } from "../cuda/plan/experts.ts";
import { withUploadedFormats } from "../cuda/uploaded_formats.ts";
import { partNames, partPointers } from "../cuda/weight_pointers.ts";
import { isPacked } from "../tensor/packed_tensor.ts";
import { bytesPerElement } from "../tensor/tensor.ts";
import type { ExchangeCall } from "./exchange_call.ts";
import { shareOf } from "./exchange_plan.ts";
import { type PointerTable, resolveLaunch } from "./resolve_launch.ts";

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
  /** The launches that decode weights for the products. */
  readonly decode: readonly KernelLaunch[];
  /** The launches that sort the assignments by expert. */
  readonly sort: readonly KernelLaunch[];
  readonly products: readonly KernelLaunch[];
  readonly pointers: PointerTable;
  /** [N, H]: the rows, in the order of the experts, then of the tokens. */
  readonly expertOutputs: bigint;
  /** [tokens, K]: the row of each assignment, or -1. */
  readonly rows: bigint;
}

/**
 * Plans the rows of this rank's experts.
 *
 * @param call The call of the whole layer, with the weights of this rank, and where temporary memory comes from.
 * @param rows How many rows there can be.
 * @param given Temporary tensors that exist already.
 * @param reserved The number of multiprocessors that the products leave to an exchange.
 */
export function planLocalExperts(
  { group, inputs, shape, allocate }: ExchangeCall,
  { tokens, topK, hiddenStates, routerIndices, inputWeights }: LocalTokens,
  rows: RowCounts,
  given: Partial<PointerTable> = {},
  reserved: number = 0,
): LocalExperts {
  const { start, end } = shareOf(shape.experts, group.ranks, group.rank);
  const plan = group.plan(
    {
      ...withUploadedFormats(shape, inputs),
      tokens,
      topK,
      experts: end - start,
      hasAddend: false,
      denseWeights: false,
    },
    rows,
    reserved,
  );
  const { gateUpProj, gateUpProjBias, downProj, downProjBias } = inputs;
  const pointerOf = (weight: typeof gateUpProj) => (isPacked(weight) ? weight.parts.values : weight).pointer;
  const parts = partPointers(inputs, ({ pointer }) => pointer);
  const temporary = (name: WorkspaceName) => {
    const bytes = plan.workspace[name];
    return given[name] ?? (bytes > 0 ? allocate(bytes) : null);
  };
  const pointers = {
    ...{ hiddenStates, routerIndices, inputWeights, routingWeights: null, addend: null, addendWeights: null },
    ...{ gateUpProj: pointerOf(gateUpProj), gateUpProjBias: gateUpProjBias?.pointer ?? null },
    ...{ downProj: pointerOf(downProj), downProjBias: downProjBias?.pointer ?? null },
    ...Object.fromEntries(partNames.map((name, i) => [name, parts[i] ?? null])),
    counters: group.inner.host.counters,
    // The activations can be stored in the output.
    output: plan.workspace.activations > 0 ? null : allocate(tokens * shape.hidden * bytesPerElement(shape.dtype)),
    ...Object.fromEntries((Object.keys(plan.workspace) as WorkspaceName[]).map((name) => [name, temporary(name)])),
  } as PointerTable;
  const resolve = (choose: (launch: PlannedLaunch) => boolean) =>
    plan.launches.filter(choose).map((launch) => resolveLaunch(launch, pointers));
  const decodes = ({ arguments: { out } }: PlannedLaunch) => out === "gateUpDense" || out === "downDense";
  const sorts = ({ kernel }: PlannedLaunch) => kernel.startsWith("sort_");
  const combines = ({ kernel }: PlannedLaunch) => kernel.startsWith("combine_");
  return {
    plan,
    decode: resolve(decodes),
    sort: resolve(sorts),
    products: resolve((launch) => !decodes(launch) && !sorts(launch) && !combines(launch)),
    pointers,
    ...{ expertOutputs: pointers.expertOutputs ?? 0n, rows: pointers.rows ?? 0n },
  };
}
