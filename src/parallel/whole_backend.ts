// A rank that takes the tensors of all ranks, for checks: every rank makes the same calls with the same tensors.
import type { Backend, BackendTensor } from "../backend/backend.ts";
import { runMoe } from "../backend/run_moe.ts";
import type { ExpertsInputs, ExpertsOptions } from "../contract/experts.ts";
import { inputNames, mapInputs } from "../contract/experts_inputs.ts";
import type { MoeLayer, MoeOptions } from "../contract/moe.ts";
import { type ExpertsCall, resolveExperts } from "../contract/resolve_experts.ts";
import { resolveMoe } from "../contract/resolve_moe.ts";
import type { PackedBackendTensor } from "../tensor/backend_tensor.ts";
import { describeParts, isPacked, mapParts, type PackedTensor } from "../tensor/packed_tensor.ts";
import { elementCount, type Tensor, tensor, zeros } from "../tensor/tensor.ts";
import { RankBackend } from "./backend.ts";
import { type Range, shareOf } from "./exchange_plan.ts";

/** The maximum number of bytes of a rank in a message. */
const messageBytes = 1 << 22;

/** A backend whose calls share the tokens and the experts among the ranks and return the whole output on every rank. */
export class WholeBackend extends RankBackend {
  /** The packed weights as they were uploaded, because the GPU may store them in another order. */
  readonly #packed = new WeakMap<object, PackedTensor>();

  override experts(inputs: ExpertsInputs<BackendTensor>, options: ExpertsOptions = {}): Promise<BackendTensor> {
    return this.runExperts({ inputs, shape: resolveExperts(inputs, options), onProgress: options.onProgress });
  }

  override moe(
    hidden: BackendTensor,
    layer: MoeLayer<BackendTensor>,
    options: MoeOptions = {},
  ): Promise<BackendTensor> {
    return runMoe(this, { ...options, hidden, layer, shape: resolveMoe(hidden, layer, options) });
  }

  override upload(tensor: Tensor): BackendTensor;
  override upload(tensor: PackedTensor): PackedBackendTensor;
  override upload(tensor: Tensor | PackedTensor): BackendTensor | PackedBackendTensor {
    if (!isPacked<PackedTensor>(tensor)) return super.upload(tensor);
    const uploaded = super.upload(tensor);
    this.#packed.set(uploaded, tensor);
    return uploaded;
  }

  override async uploadPacked(...[spec, produce]: Parameters<Backend["uploadPacked"]>): Promise<PackedBackendTensor> {
    const whole = mapParts(describeParts(spec), ({ dtype, shape }) => zeros(dtype, shape));
    await produce(whole, 0);
    return this.upload(whole);
  }

  override async runExperts(call: ExpertsCall<BackendTensor>): Promise<BackendTensor> {
    const { inputs, shape } = call;
    if (shape.experts < this.ranks) return await this.local.runExperts(call);
    using scope = new DisposableStack();
    const counts = Array.from({ length: this.ranks }, (_, r) => {
      const { start, end } = shareOf(shape.tokens, this.ranks, r);
      return end - start;
    });
    const shares = { tokens: shareOf(shape.tokens, this.ranks, this.rank), experts: this.share(shape.experts) };
    const slice = async (tensor: BackendTensor, range: Range) => scope.use(await this.#slice(tensor, range));
    const own = new Map<object, BackendTensor | PackedBackendTensor>();
    for (const name of inputNames) {
      const input = inputs[name];
      if (input === undefined) continue;
      const range = name.includes("Proj") ? shares.experts : shares.tokens;
      own.set(input, isPacked(input) ? scope.use(this.#sharePacked(name, input, range)) : await slice(input, range));
    }
    const ownOf = <Input extends object>(input: Input) => (own.get(input) ?? input) as Input;
    const ownInputs = mapInputs(inputs, ownOf, ownOf);
    const ownCall = { ...call, inputs: ownInputs, shape: { ...shape, tokens: counts[this.rank] ?? 0 } };
    return await this.#gather(scope.use(await this.runShared(ownCall, counts)), counts);
  }

  /** Uploads some experts of a packed weight. */
  #sharePacked(name: string, weight: object, range: Range): PackedBackendTensor {
    const whole = this.#packed.get(weight);
    if (!whole) throw new TypeError(`${name} must be uploaded by this backend to be shared`);
    const part = mapParts(whole, ({ data, dtype, shape: [, ...rest] }) => {
      const size = elementCount(rest);
      return tensor(data.slice(range.start * size, range.end * size), [range.end - range.start, ...rest], dtype);
    });
    return this.local.upload({ ...part, shape: [range.end - range.start, ...whole.shape.slice(1)] });
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
