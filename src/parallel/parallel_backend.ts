// What a rank can do.
import type { Backend, BackendTensor } from "../backend/backend.ts";
import type { ExpertsInputs } from "../contract/experts.ts";
import type { MoeLayer } from "../contract/moe.ts";
import type { Range } from "./exchange_plan.ts";
import type { ParallelExpertsOptions, ParallelMoeOptions } from "./resolve.ts";

/**
 * How tokens reach the experts: `"assignments"` sends each token to the GPU of each of its experts, and gives the same bits as one
 * GPU; `"tokens"` sends every token to every GPU, which is faster for few tokens and needs the same number on every rank; `"auto"`
 * chooses `"tokens"` for few tokens if `tokensPerRank` is given.
 */
export type ExchangeMode = "auto" | "assignments" | "tokens";

/**
 * The backend of one rank, which {@linkcode openParallel} opens. All ranks must make the same calls of `experts`, `moe`, `measure` and
 * `allGather`, and dispose the backend, in the same order. Each rank passes its own tokens, and the weights of its own experts: see
 * {@linkcode ParallelBackend.share}.
 */
export interface ParallelBackend extends Backend {
  /** The number of this rank, from 0. */
  readonly rank: number;
  /** The number of ranks. */
  readonly ranks: number;
  /** Returns the experts of this rank: `total` experts are divided as evenly as possible, in order. */
  share(total: number): Range;
  /** Collects a JSON value from every rank, in the order of the ranks. */
  allGather<Value>(value: Value): Promise<Value[]>;
  /**
   * Runs the experts of all ranks on this rank's tokens; see {@linkcode Backend.experts}. `gateUpProj`, `downProj` and their biases have
   * this rank's experts; `routerIndices` and dense `routingWeights` count the experts of all ranks.
   *
   * @returns The output of this rank's tokens, [T, H].
   * @throws {RangeError} If a shape does not match, or the ranks make different calls.
   * @throws {TypeError} If a dtype does not match, or a name is unknown.
   * @throws {RankLostError} If a rank has ended.
   */
  experts(inputs: ExpertsInputs<BackendTensor>, options?: ParallelExpertsOptions): Promise<BackendTensor>;
  /**
   * Runs a whole layer on this rank's tokens; see {@linkcode Backend.moe}. The routed experts are this rank's; the router and the shared
   * expert are whole on every rank.
   *
   * @returns The output of this rank's tokens, [T, H].
   * @throws {RangeError} If a shape does not match, or the ranks make different calls.
   * @throws {TypeError} If a dtype does not match, or a name is unknown.
   * @throws {RankLostError} If a rank has ended.
   */
  moe(hidden: BackendTensor, layer: MoeLayer<BackendTensor>, options?: ParallelMoeOptions): Promise<BackendTensor>;
  /** Returns how rows travel in calls with these `tokensPerRank`. */
  exchangeOf(tokensPerRank: readonly number[]): Exclude<ExchangeMode, "auto">;
  /** Leaves the other ranks because this one failed. They end too, and name the reason. */
  fail(reason: string): void;
}

/** Returns whether a backend is a rank. */
export function isParallel(backend: Backend): backend is ParallelBackend {
  return "allGather" in backend;
}
