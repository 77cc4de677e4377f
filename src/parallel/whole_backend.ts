// A rank that takes the tensors of all ranks, for checks: every rank makes the same calls with the same tensors.
import type { BackendTensor } from "../backend/backend.ts";
import type { ExpertsInputs, ExpertsOptions } from "../contract/experts.ts";
import type { MoeLayer, MoeOptions } from "../contract/moe.ts";
import { elementCount, type Tensor, zeros } from "../tensor/tensor.ts";
import { RankBackend } from "./backend.ts";
import { type Range, shareOf } from "./exchange_plan.ts";

/** The maximum number of bytes of a rank in a message. */
const messageBytes = 1 << 22;

/** A backend whose calls share the tokens and the experts among the ranks and return the whole output on every rank. */
export class WholeBackend extends RankBackend {
  override async experts(inputs: ExpertsInputs<BackendTensor>, options: ExpertsOptions = {}): Promise<BackendTensor> {
    const total = inputs.downProj.shape[0] ?? 0;
    if (total < this.ranks) return await this.local.experts(inputs, options);
    using scope = new DisposableStack();
    const { gateUpProj, gateUpProjBias, downProj, downProjBias, ...tokenInputs } = inputs;
    const [tokens = 0] = inputs.hiddenStates.shape;
    const counts = this.#tokensPerRank(tokens);
    const own: Record<string, BackendTensor> = {};
    for (const [name, tensor] of Object.entries(tokenInputs)) {
      if (tensor) own[name] = scope.use(await this.#slice(tensor, this.#ownTokens(tokens)));
    }
    const weights = await this.#ownWeights({ gateUpProj, gateUpProjBias, downProj, downProjBias }, total, scope);
    const call = { ...own, ...weights } as unknown as ExpertsInputs<BackendTensor>;
    const output = scope.use(await super.experts(call, { ...options, totalExperts: total, tokensPerRank: counts }));
    return await this.#gather(output, counts);
  }

  override async moe(
    hidden: BackendTensor,
    layer: MoeLayer<BackendTensor>,
    options: MoeOptions = {},
  ): Promise<BackendTensor> {
    const total = layer.downProj.shape[0] ?? 0;
    if (total < this.ranks) return await this.local.moe(hidden, layer, options);
    using scope = new DisposableStack();
    const { gateUpProj, gateUpProjBias, downProj, downProjBias } = layer;
    const weights = await this.#ownWeights({ gateUpProj, gateUpProjBias, downProj, downProjBias }, total, scope);
    const [tokens = 0] = hidden.shape;
    const own = scope.use(await this.#slice(hidden, this.#ownTokens(tokens)));
    const counts = this.#tokensPerRank(tokens);
    const output = scope.use(await super.moe(own, { ...layer, ...weights }, { ...options, tokensPerRank: counts }));
    return await this.#gather(output, counts);
  }

  #ownTokens(tokens: number): Range {
    return shareOf(tokens, this.ranks, this.rank);
  }

  #tokensPerRank(tokens: number): number[] {
    return Array.from({ length: this.ranks }, (_, r) => {
      const { start, end } = shareOf(tokens, this.ranks, r);
      return end - start;
    });
  }

  /** Copies the weights of this rank's experts. */
  async #ownWeights(
    weights: Pick<ExpertsInputs<BackendTensor>, "gateUpProj" | "gateUpProjBias" | "downProj" | "downProjBias">,
    total: number,
    scope: DisposableStack,
  ): Promise<Pick<ExpertsInputs<BackendTensor>, "gateUpProj" | "downProj">> {
    const own: Record<string, BackendTensor> = {};
    for (const [name, tensor] of Object.entries(weights)) {
      if (!tensor) continue;
      if ("parts" in tensor) throw new TypeError(`${name} must be dense to be shared, got a packed tensor`);
      own[name] = scope.use(await this.#slice(tensor, this.share(total)));
    }
    return own as unknown as Pick<ExpertsInputs<BackendTensor>, "gateUpProj" | "downProj">;
  }

  /** Copies some rows of a tensor. */
  async #slice(tensor: BackendTensor, { start, end }: Range): Promise<BackendTensor> {
    const host = zeros(tensor.dtype, [end - start, ...tensor.shape.slice(1)]);
    const first = start * elementCount(tensor.shape.slice(1));
    if (host.data.length > 0) {
      const range = { start: first, end: first + host.data.length };
      await this.read(tensor, (piece, at) => host.data.set(piece, at - first), range);
    }
    return this.upload(host);
  }

  /** Collects the rows of all ranks on every rank. */
  async #gather(own: BackendTensor, counts: readonly number[]): Promise<BackendTensor> {
    const { dtype, shape } = own;
    const rows = await this.download(own);
    const bytes = bytesOf(rows);
    const whole = zeros(dtype, [counts.reduce((sum, count) => sum + count, 0), ...shape.slice(1)]);
    const target = bytesOf(whole);
    const rowBytes = elementCount(shape.slice(1)) * rows.data.BYTES_PER_ELEMENT;
    const longest = Math.max(...counts) * rowBytes;
    for (let start = 0; start < longest; start += messageBytes) {
      const pieces = await this.allGather(bytes.slice(start, start + messageBytes).toBase64());
      let first = start;
      for (const [rank, piece] of pieces.entries()) {
        if (piece !== "") target.set(Uint8Array.fromBase64(piece), first);
        first += (counts[rank] ?? 0) * rowBytes;
      }
    }
    return this.upload(whole);
  }
}

function bytesOf({ data }: Tensor): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
