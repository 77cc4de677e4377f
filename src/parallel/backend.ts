// The backend of one rank: its own GPU, whose experts serve the tokens of all ranks.
import type {
  Backend,
  BackendDetails,
  BackendTensor,
  Captured,
  ElementRange,
  Measurement,
  PackedBackendTensor,
  PeakRates,
} from "../backend/backend.ts";
import { runMoe } from "../backend/run_moe.ts";
import type { BackendSteps } from "../backend/steps.ts";
import type { ExpertsInputs } from "../contract/experts.ts";
import type { CudaBackend } from "../cuda/backend.ts";
import { CudaError } from "../cuda/driver/error.ts";
import { mapInputs } from "../contract/experts_inputs.ts";
import type { MoeLayer } from "../contract/moe.ts";
import type { BackendOps } from "../contract/ops.ts";
import type { ExpertsCall } from "../contract/resolve_experts.ts";
import { mapLayer } from "../contract/resolve_moe.ts";
import { isPacked, mapWeight, type PackedFormat, type PackedTensor } from "../tensor/packed_tensor.ts";
import type { DType, Tensor } from "../tensor/tensor.ts";
import { runByAssignment } from "./by_assignment.ts";
import { runByToken } from "./by_token.ts";
import { type Range, shareOf } from "./exchange_plan.ts";
import type { ExchangeMode, ParallelBackend } from "./parallel_backend.ts";
import type { RankGroup } from "./rank_group.ts";
import {
  checkTokensPerRank,
  type ParallelExpertsOptions,
  type ParallelMoeOptions,
  resolveParallelExperts,
  resolveParallelMoe,
} from "./resolve.ts";

/** `"auto"` sends every token to every GPU up to this number of tokens of all ranks. */
const fewTokens = 2048;

/** The backend of one rank. */
export class RankBackend implements ParallelBackend {
  readonly name = "cuda";
  readonly threads = 0;
  readonly #group: RankGroup;
  readonly #mode: ExchangeMode;
  readonly #owned: DisposableStack;

  /** Takes over what `owned` disposes. */
  constructor(group: RankGroup, mode: ExchangeMode, owned: DisposableStack) {
    this.#group = group;
    this.#mode = mode;
    this.#owned = owned;
  }

  get rank(): number {
    return this.#group.rank;
  }

  get ranks(): number {
    return this.#group.ranks;
  }

  /** This rank's GPU on its own. */
  get local(): CudaBackend {
    return this.#group.inner;
  }

  share(total: number): Range {
    return shareOf(total, this.ranks, this.rank);
  }

  allGather<Value>(value: Value): Promise<Value[]> {
    return this.#group.world.allGather(value);
  }

  get device(): string {
    return this.#group.inner.device;
  }

  get engine(): string {
    return this.#group.inner.engine;
  }

  get memory(): Backend["memory"] {
    return this.#group.inner.memory;
  }

  get uploadMilliseconds(): number {
    return this.#group.inner.uploadMilliseconds;
  }

  get ops(): BackendOps {
    return this.#group.inner.ops;
  }

  get steps(): BackendSteps {
    return this.#group.inner.steps;
  }

  get details(): BackendDetails {
    return this.#group.inner.details;
  }

  resetPeakMemory(): void {
    this.#group.inner.resetPeakMemory();
  }

  allocate(dtype: DType, shape: readonly number[]): BackendTensor {
    return this.#group.inner.allocate(dtype, shape);
  }

  upload(tensor: Tensor): BackendTensor;
  upload(tensor: PackedTensor): PackedBackendTensor;
  upload(tensor: Tensor | PackedTensor): BackendTensor | PackedBackendTensor {
    const { inner } = this.#group;
    return isPacked<PackedTensor>(tensor) ? inner.upload(tensor) : inner.upload(tensor);
  }

  uploadPacked(...call: Parameters<Backend["uploadPacked"]>): Promise<PackedBackendTensor> {
    return this.#group.inner.uploadPacked(...call);
  }

  supports(format: PackedFormat): boolean {
    return this.#group.inner.supports(format);
  }

  fill(...call: Parameters<Backend["fill"]>): Promise<void> {
    return this.#group.inner.fill(...call);
  }

  async read(tensor: BackendTensor, consume: Parameters<Backend["read"]>[1], range?: ElementRange): Promise<void> {
    await this.#group.inner.read(tensor, consume, range);
    this.#group.checkAlive();
  }

  async download(tensor: BackendTensor): Promise<Tensor> {
    const copy = await this.#group.inner.download(tensor);
    this.#group.checkAlive();
    return copy;
  }

  async experts(inputs: ExpertsInputs<BackendTensor>, options: ParallelExpertsOptions = {}): Promise<BackendTensor> {
    const shape = resolveParallelExperts(inputs, options, this.#group);
    return await this.runShared({ inputs, shape, onProgress: options.onProgress }, options.tokensPerRank);
  }

  async moe(
    hidden: BackendTensor,
    layer: MoeLayer<BackendTensor>,
    options: ParallelMoeOptions = {},
  ): Promise<BackendTensor> {
    const shape = resolveParallelMoe(hidden, layer, options, this.#group);
    const { inner } = this.#group;
    using shared = new DisposableStack();
    const share = (tensor: BackendTensor) => shared.use(inner.host.own(tensor).share());
    const tensors = { hidden: share(hidden), layer: mapLayer(layer, share, (weight) => mapWeight(weight, share)) };
    const call = { ...options, ...tensors, shape };
    return await runMoe(inner, call, (routed) => this.runShared(routed, options.tokensPerRank));
  }

  runExperts(_call: ExpertsCall<BackendTensor>): Promise<BackendTensor> {
    throw new TypeError("Cannot share a call of one backend: call the methods experts and moe of the ranks' backends");
  }

  /** Runs a call with this rank's tokens and experts, whose shape has the number of all experts. */
  protected async runShared(
    { inputs, ...call }: ExpertsCall<BackendTensor>,
    tokensPerRank: readonly number[] | undefined,
  ): Promise<BackendTensor> {
    const { inner } = this.#group;
    using shared = new DisposableStack();
    const share = (tensor: BackendTensor) => shared.use(inner.host.own(tensor).share());
    const owned = { ...call, inputs: mapInputs(inputs, share, (weight) => mapWeight(weight, share)) };
    if (tokensPerRank) checkTokensPerRank(tokensPerRank, call.shape.tokens, this.#group);
    this.#group.world.countCall();
    const isByToken = await this.#exchange(call.shape.tokens, tokensPerRank) === "tokens";
    try {
      return isByToken ? runByToken(this.#group, owned) : runByAssignment(this.#group, owned, tokensPerRank);
    } catch (error) {
      if (error instanceof CudaError) this.fail(error.message); // the other ranks would wait for this one
      throw error;
    }
  }

  /** Returns how rows travel. The answer is the same on all ranks. */
  async #exchange(tokens: number, known: readonly number[] | undefined): Promise<Exclude<ExchangeMode, "auto">> {
    if (this.#mode === "auto") return known ? this.exchangeOf(known) : "assignments";
    return this.#mode === "tokens" ? this.exchangeOf(known ?? await this.allGather(tokens)) : this.#mode;
  }

  exchangeOf(tokensPerRank: readonly number[]): Exclude<ExchangeMode, "auto"> {
    if (this.#mode === "assignments") return "assignments";
    const [tokens = 0] = tokensPerRank;
    const equal = tokensPerRank.every((count) => count === tokens);
    if (this.#mode === "auto") return equal && tokens * this.ranks <= fewTokens ? "tokens" : "assignments";
    if (equal) return "tokens";
    throw new RangeError(
      `The exchange of tokens needs the same number of tokens on every rank, got ${tokensPerRank.join(", ")}`,
    );
  }

  synchronize(): Promise<void> {
    return Promise.try(() => this.#group.synchronize());
  }

  /** Measures a function on all ranks, which start together. The times are those of the slowest rank. */
  async measure<Result>(run: () => Promise<Result>): Promise<Measurement<Result>> {
    await this.allGather(null); // so that the hosts begin together, and then the GPUs
    const measured = await this.#group.inner.measure(run, () => this.#group.barrier());
    this.#group.checkAlive();
    const times = await this.allGather([measured.milliseconds, measured.wallMilliseconds]);
    const slowest = (i: number) => Math.max(...times.map((pair) => pair[i] ?? 0));
    return { ...measured, milliseconds: slowest(0), wallMilliseconds: slowest(1) };
  }

  async capture<Result>(run: () => Promise<Result>): Promise<Captured<Result>> {
    const { inner, communicator } = this.#group;
    const captured = communicator.own(await inner.capture(run));
    return {
      result: captured.result,
      replay: async () => {
        this.#group.checkAlive();
        this.#group.world.countCall();
        await captured.replay();
      },
      [Symbol.dispose]: () => communicator.disown(captured),
    };
  }

  flushCaches(): void {
    this.#group.inner.flushCaches();
  }

  /** Returns the rates of all GPUs together. */
  async peakRates(dtype: DType): Promise<PeakRates | undefined> {
    const peak = await this.#group.inner.peakRates(dtype);
    return peak && {
      ...peak,
      teraflops: peak.teraflops * this.ranks,
      gigabytesPerSecond: peak.gigabytesPerSecond * this.ranks,
    };
  }

  fail(reason: string): void {
    this.#group.world.fail(reason);
  }

  [Symbol.dispose](): void {
    if (!this.#owned.disposed) this.#group.world.finish();
    this.#owned[Symbol.dispose]();
  }
}
