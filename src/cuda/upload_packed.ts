// Uploads packed weights, some experts at a time. On Hopper, they are laid out in blocks; see plan/packed_layout.ts.
import type { PackedBackendTensor } from "../backend/backend.ts";
import { makeParts } from "../backend/upload_packed.ts";
import { describeParts, expertsOf, mapParts, type PackedSpec, type PackedTensor } from "../tensor/packed_tensor.ts";
import { bytesPerElement, elementCount, viewOf } from "../tensor/tensor.ts";
import type { CudaHost } from "./ops.ts";
import { type BlockLayout, blocksBytes, findLayout, planLayout, rowScalesBytes } from "./plan/packed_layout.ts";
import type { CudaTensor } from "./tensor.ts";
import { hasWideScales } from "./wide_scales.ts";

/** A piece has as many experts as fit in this many bytes and in this part of the tensor, at least one. */
const pieceBytes = 32 * 2 ** 20, piecePart = 1 / 64;

/** The parts of a piece begin at multiples of this many bytes. */
const alignment = 256;

/** Experts that are uploaded together. */
export interface ExpertRange {
  readonly first: number;
  readonly count: number;
}

/** A packed tensor whose experts are uploaded one piece after the other. */
export class PackedUpload implements Disposable {
  /** The pieces. */
  readonly pieces: readonly ExpertRange[];
  /** The bytes of the host memory for the largest piece. */
  readonly bytes: number;
  readonly #spec: PackedSpec;
  readonly #target: Target;

  /** Allocates the tensor. */
  constructor(spec: PackedSpec, host: CudaHost<CudaTensor>) {
    const [experts = 0] = spec.shape;
    const bytes = partsBytes(withExperts(spec, 1));
    const atOnce = Math.max(1, Math.floor(Math.min(experts * piecePart, pieceBytes / bytes)));
    this.#spec = spec;
    this.bytes = partsBytes(withExperts(spec, atOnce));
    this.pieces = Array.from({ length: Math.ceil(experts / atOnce) }, (_, i) => {
      const first = i * atOnce;
      return { first, count: Math.min(atOnce, experts - first) };
    });
    const layout = findLayout(spec.format, spec.shape, host.kernels);
    this.#target = layout ? new Blocks(spec, layout, atOnce, host) : new Parts(spec, host);
  }

  /** Returns a packed tensor of some experts in host memory, from the byte `start` on. */
  piece({ count }: ExpertRange, memory: SharedArrayBuffer, start: number): PackedTensor {
    let at = start;
    return mapParts(describeParts(withExperts(this.#spec, count)), (part) => {
      const data = viewOf(part.dtype, memory, at, elementCount(part.shape));
      at += aligned(data.byteLength);
      return { ...part, data };
    });
  }

  /** Queues the upload of the experts from `first` on. The host memory must not change until it is complete. */
  write(piece: PackedTensor, first: number): void {
    this.#target.write(piece, first);
  }

  /** Queues the upload of all experts. */
  writeAll(tensor: PackedTensor): void {
    for (const { first, count } of this.pieces) this.write(expertsOf(tensor, first, count), first);
  }

  /** Returns the tensor, which the caller then owns. */
  finish(): PackedBackendTensor {
    return this.#target.finish();
  }

  /** Frees what {@linkcode PackedUpload.finish} has not returned. */
  [Symbol.dispose](): void {
    this.#target[Symbol.dispose]();
  }
}

type Target = Pick<PackedUpload, "write" | "finish"> & Disposable;

/** The parts as they are. */
class Parts implements Target {
  readonly #owned = new DisposableStack();
  readonly #parts: PackedTensor<CudaTensor> & Disposable;

  constructor(spec: PackedSpec, { allocate }: CudaHost<CudaTensor>) {
    this.#parts = this.#owned.use(makeParts(describeParts(spec), ({ dtype, shape }) => allocate(dtype, shape)));
  }

  write(piece: PackedTensor, first: number): void {
    const [count = 1] = piece.shape;
    mapParts(piece, ({ data }, name) => {
      this.#parts.parts[name]?.buffer.write(data as BufferSource, first * data.byteLength / count);
    });
  }

  finish(): PackedBackendTensor {
    this.#owned.move();
    return this.#parts;
  }

  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

/**
 * Blocks, which contain values and scales: both parts of the result are the blocks. The device memory never contains more than
 * the blocks and one piece of the parts.
 */
class Blocks implements Target {
  readonly #spec: PackedSpec;
  readonly #layout: BlockLayout;
  readonly #host: CudaHost<CudaTensor>;
  readonly #owned: DisposableStack;
  readonly #blocks: CudaTensor;
  readonly #copies: PackedTensor<CudaTensor> & Disposable;
  /** Whether a number of FP8 is NaN, an i32. */
  readonly #nans: CudaTensor | undefined;
  #needsDecoding = false;

  constructor(spec: PackedSpec, layout: BlockLayout, atOnce: number, host: CudaHost<CudaTensor>) {
    using cleanup = new DisposableStack();
    this.#blocks = cleanup.use(
      host.allocate("u8", [blocksBytes(layout, spec.shape) + rowScalesBytes(layout, spec.shape)]),
    );
    const copies = describeParts(withExperts(spec, atOnce));
    this.#copies = cleanup.use(makeParts(copies, ({ dtype, shape }) => host.allocate(dtype, shape)));
    this.#nans = spec.format.kind === "fp8" ? cleanup.use(host.allocate("i32", [1])) : undefined;
    this.#nans?.buffer.clear();
    [this.#layout, this.#host] = [layout, host];
    this.#spec = { format: spec.format, shape: spec.shape };
    this.#owned = cleanup.move();
  }

  write(piece: PackedTensor, first: number): void {
    const { format, shape, parts } = piece;
    this.#needsDecoding ||= hasWideScales(piece);
    const copies = mapParts(this.#copies, ({ buffer, pointer }, name) => {
      const part = parts[name];
      if (part) buffer.write(part.data as BufferSource);
      return pointer;
    });
    const layout = this.#layout, { pointer } = this.#blocks, before = withExperts(this.#spec, first).shape;
    const blocks = pointer + BigInt(blocksBytes(layout, before));
    const rowScales = pointer + BigInt(blocksBytes(layout, this.#spec.shape) + rowScalesBytes(layout, before));
    this.#host.launch(
      planLayout(format, layout, shape, copies.parts, { blocks, rowScales, nans: this.#nans?.pointer ?? null }),
    );
  }

  finish(): PackedBackendTensor {
    this.#needsDecoding ||= this.#hasNans();
    this.#copies[Symbol.dispose](); // before the tensors change hands, because it may fail
    this.#nans?.[Symbol.dispose]();
    const blocks = this.#blocks, second = blocks.share();
    this.#owned.move();
    const dispose = () => {
      blocks[Symbol.dispose]();
      second[Symbol.dispose]();
    };
    const { format, shape } = this.#spec;
    return {
      format: this.#needsDecoding ? { ...format, needsDecoding: true } : format,
      shape,
      parts: { values: blocks, scales: second },
      [Symbol.dispose]: dispose,
    };
  }

  #hasNans(): boolean {
    const found = new Int32Array(1);
    if (this.#nans) {
      this.#nans.buffer.read(found);
      this.#host.stream.synchronize();
    }
    return found[0] !== 0;
  }

  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

function withExperts({ format, shape: [, ...matrix] }: PackedSpec, experts: number): PackedSpec {
  return { format, shape: [experts, ...matrix] };
}

/** The bytes of the parts in host memory. */
function partsBytes(spec: PackedSpec): number {
  let bytes = 0;
  mapParts(describeParts(spec), ({ dtype, shape }) => bytes += aligned(elementCount(shape) * bytesPerElement(dtype)));
  return bytes;
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / alignment) * alignment;
}
