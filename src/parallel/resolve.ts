// Resolves calls over several ranks: the expert weights are those of one rank, everything else belongs to the whole layer.
import type { TensorSpec } from "../contract/checks.ts";
import type { WeightSpec } from "../contract/weights.ts";
import { isPacked, type PackedSpec } from "../tensor/packed_tensor.ts";
import type { ExpertsInputs, ExpertsOptions } from "../contract/experts.ts";
import { mapInputs } from "../contract/experts_inputs.ts";
import type { MoeLayer, MoeOptions } from "../contract/moe.ts";
import { type ResolvedExperts, resolveExperts } from "../contract/resolve_experts.ts";
import { type ResolvedMoe, resolveMoe } from "../contract/resolve_moe.ts";
import { describeValue, formatShape } from "../tensor/tensor.ts";
import { shareOf } from "./exchange_plan.ts";

/** Options of a call over several ranks. */
export interface ParallelCallOptions {
  /**
   * The number of tokens of each rank, if it is known: all ranks must pass the same. Without it, every call exchanges the numbers.
   *
   * @default {undefined}
   */
  readonly tokensPerRank?: readonly number[] | undefined;
}

/** Options of `experts` over several ranks. */
export interface ParallelExpertsOptions extends ExpertsOptions, ParallelCallOptions {
  /**
   * The number of experts of all ranks. Defaults to the number of this rank's experts times the number of ranks.
   */
  readonly totalExperts?: number | undefined;
}

/** Options of `moe` over several ranks. */
export interface ParallelMoeOptions extends MoeOptions, ParallelCallOptions {}

/** The number of a rank and the number of ranks. */
interface RankNumber {
  readonly rank: number;
  readonly ranks: number;
}

/** Resolves a call of `experts`. The result has the number of all experts. */
export function resolveParallelExperts(
  inputs: ExpertsInputs<TensorSpec, WeightSpec>,
  { totalExperts, tokensPerRank: _tokens, ...options }: ParallelExpertsOptions,
  group: RankNumber,
): ResolvedExperts {
  const own = inputs.downProj?.shape?.[0] ?? 0;
  const total = totalExperts ?? own * group.ranks;
  checkShare(own, total, group);
  const { gateUpProjBias, downProjBias } = inputs;
  const specs = mapInputs(inputs, (tensor) => tensor, (weight) => widenedWeight(weight, own, total));
  return resolveExperts({
    ...specs,
    ...gateUpProjBias && { gateUpProjBias: widened(gateUpProjBias, own, total) },
    ...downProjBias && { downProjBias: widened(downProjBias, own, total) },
  }, options);
}

/** Resolves a call of `moe`. The router has the number of all experts. */
export function resolveParallelMoe(
  hidden: TensorSpec,
  layer: MoeLayer<TensorSpec, WeightSpec>,
  { tokensPerRank: _tokens, ...options }: ParallelMoeOptions,
  group: RankNumber,
): ResolvedMoe {
  const own = layer.downProj?.shape?.[0] ?? 0, total = layer.router?.weight?.shape?.[0] ?? 0;
  checkShare(own, total, group);
  const { gateUpProj, gateUpProjBias, downProj, downProjBias } = layer;
  return resolveMoe(hidden, {
    ...layer,
    ...{ gateUpProj: widenedWeight(gateUpProj, own, total), downProj: widenedWeight(downProj, own, total) },
    ...gateUpProjBias && { gateUpProjBias: widened(gateUpProjBias, own, total) },
    ...downProjBias && { downProjBias: widened(downProjBias, own, total) },
  }, options);
}

/** Describes a weight of all experts, given that of this rank's. A weight of another number of experts is left to the checks. */
function widened(weight: TensorSpec, own: number, total: number): TensorSpec {
  const [experts, ...rest] = weight.shape;
  return experts === own ? { dtype: weight.dtype, shape: [total, ...rest] } : weight;
}

function widenedWeight(weight: WeightSpec, own: number, total: number): WeightSpec {
  if (!isPacked<PackedSpec>(weight)) return widened(weight, own, total);
  const [experts, ...rest] = weight.shape;
  return experts === own ? { ...weight, shape: [total, ...rest] } : weight;
}

function checkShare(own: number, total: number, { rank, ranks }: RankNumber): void {
  if (!Number.isInteger(total) || total < ranks) {
    throw new RangeError(`The number of experts must be an integer of at least ${ranks}, the ranks, got ${total}`);
  }
  const { start, end } = shareOf(total, ranks, rank);
  if (own === end - start) return;
  throw new RangeError(
    `downProj must have the ${end - start} experts of rank ${rank}, ${start} to ${end - 1} of ${total}, got ${own}`,
  );
}

/**
 * Checks `tokensPerRank`.
 *
 * @throws {RangeError} If it does not have a number for each rank, or that of this rank is not the number of its tokens.
 */
export function checkTokensPerRank(counts: readonly number[], tokens: number, { rank, ranks }: RankNumber): void {
  if (counts.length === ranks && counts[rank] === tokens && counts.every((n) => Number.isSafeInteger(n) && n >= 0)) {
    return;
  }
  throw new RangeError(
    `tokensPerRank must have ${ranks} numbers of tokens, the one of rank ${rank} being ${tokens}, got ${
      describeValue(formatShape(counts))
    }`,
  );
}
