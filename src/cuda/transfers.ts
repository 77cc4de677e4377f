// Copies between the host and the device, through page-locked host memory.
import { AsyncLocalStorage } from "node:async_hooks";
import type { BackendTensor, ElementRange } from "../backend/backend.ts";
import { resolveRange } from "../backend/element_range.ts";
import { concurrently } from "../concurrently.ts";
import type { PackedTensor } from "../tensor/packed_tensor.ts";
import { bytesPerElement, type TensorData, viewOf } from "../tensor/tensor.ts";
import type { Context } from "./driver/context.ts";
import { Event } from "./driver/event.ts";
import { StagingBuffer } from "./driver/memory.ts";
import type { Stream } from "./driver/stream.ts";
import type { CudaTensor } from "./tensor.ts";
import type { PackedUpload } from "./upload_packed.ts";

/** Fills or looks at a piece of a tensor that begins at the element `start`. */
export type PieceHandler = (piece: TensorData, start: number) => void | Promise<void>;

/** Fills the parts of the experts of a packed tensor from `first` on. */
export type ExpertsHandler = (piece: PackedTensor, first: number) => void | Promise<void>;

/** The size of a staging buffer, unless one expert needs more. A transfer uses two: while one is copied, the caller uses the other. */
const stagingBytes = 32 * 2 ** 20;

/** Pieces begin at multiples of this many elements. */
const pieceUnit = 65536;

interface Staging {
  readonly memory: SharedArrayBuffer;
  /** Recorded after each copy from or to the memory. */
  readonly copied: Event;
}

type StagingPair = readonly [Staging, Staging];

/** The transfers of a backend. */
export class Transfers implements Disposable {
  readonly #context: Context;
  readonly #stream: Stream;
  readonly #owned = new DisposableStack();
  readonly #free: StagingPair[] = [];
  readonly #inTransfer = new AsyncLocalStorage<true>();
  #last: Promise<void> = Promise.resolve();
  #uploadMilliseconds = 0;

  constructor(context: Context, stream: Stream) {
    this.#context = context;
    this.#stream = stream;
  }

  /** The time that all uploads have taken so far. */
  get uploadMilliseconds(): number {
    return this.#uploadMilliseconds;
  }

  /** Queues copies of the caller's memory and waits for them, even if `queue` throws. Until then the driver reads the memory. */
  upload(queue: () => void): void {
    this.#timed(() => {
      using failed = new DisposableStack();
      failed.defer(() => this.#context.release("cuStreamSynchronize", this.#stream.handle));
      queue();
      failed.move();
      this.#stream.synchronize();
    });
  }

  /** Fills a tensor piece by piece. While one piece is copied, `produce` makes the next. */
  fill(tensor: CudaTensor, produce: PieceHandler): Promise<void> {
    const { buffer, dtype } = tensor;
    return this.#write(pieces(tensor, resolveRange(tensor)), stagingBytes, 1, async ({ start, length }, memory) => {
      const piece = viewOf(dtype, memory, 0, length);
      await produce(piece, start);
      return () => buffer.write(piece as BufferSource, start * bytesPerElement(dtype));
    });
  }

  /** Uploads a packed tensor piece by piece. `produce` makes two pieces at the same time. */
  uploadPacked(upload: PackedUpload, produce: ExpertsHandler): Promise<void> {
    return this.#write(upload.pieces, upload.bytes, 2, async (range, memory) => {
      const piece = upload.piece(range, memory);
      await produce(piece, range.first);
      return () => upload.write(piece, range.first);
    });
  }

  /** Makes each piece, `atOnce` at the same time, in staging memory of `bytes` at least, and queues the copy that `make` returns. */
  #write<Piece>(
    pieces: readonly Piece[],
    bytes: number,
    atOnce: number,
    make: (piece: Piece, memory: SharedArrayBuffer) => Promise<() => void>,
  ): Promise<void> {
    return this.#withStaging(bytes, async (staging) => {
      const free = [...staging];
      await concurrently(pieces, atOnce, async (piece) => {
        const { memory, copied } = free.shift()!;
        this.#timed(() => copied.synchronize());
        const copy = await make(piece, memory);
        this.#timed(copy);
        copied.record(this.#stream);
        free.push({ memory, copied });
      });
    });
  }

  /** Reads a tensor piece by piece. While `consume` looks at one piece, the next is copied. */
  read(tensor: CudaTensor, consume: PieceHandler, range: ElementRange): Promise<void> {
    return this.#withStaging(stagingBytes, async (staging) => {
      const { dtype } = tensor;
      const queue = pieces(tensor, range).map(({ start, length }, i) => () => {
        const { memory, copied } = staging[i % 2]!;
        const piece = viewOf(dtype, memory, 0, length);
        tensor.buffer.read(piece as BufferSource, start * bytesPerElement(dtype));
        copied.record(this.#stream);
        return { piece, start, copied };
      });
      let next = queue.shift()?.();
      while (next) {
        const { piece, start, copied } = next;
        copied.synchronize();
        next = queue.shift()?.();
        await consume(piece, start);
      }
    });
  }

  /**
   * Runs a transfer with staging memory of its own. Transfers take turns, to limit that memory; but one that begins in the
   * callback of another runs at once, because the other waits for it. Memory of the usual size is kept for the next transfer.
   */
  #withStaging(bytes: number, transfer: (staging: StagingPair) => Promise<void>): Promise<void> {
    const isKept = bytes <= stagingBytes;
    const run = async () => {
      using temporary = new DisposableStack();
      const staging = isKept && this.#free.pop() ||
        this.#allocatePair(isKept ? this.#owned : temporary, Math.max(bytes, stagingBytes));
      if (!isKept) temporary.defer(() => this.#context.release("cuStreamSynchronize", this.#stream.handle));
      try {
        await this.#inTransfer.run(true, () => transfer(staging));
      } finally {
        if (isKept) this.#free.push(staging);
      }
    };
    if (this.#inTransfer.getStore()) return run();
    const turn = this.#last.then(run);
    this.#last = turn.catch(() => {}); // the caller of the failed transfer handles the error
    return turn;
  }

  /** Allocates two staging buffers, or none if it fails. */
  #allocatePair(owner: DisposableStack, bytes: number): StagingPair {
    using cleanup = new DisposableStack();
    const allocate = (): Staging => ({
      memory: cleanup.use(new StagingBuffer(this.#context, bytes)).memory,
      copied: cleanup.use(new Event(this.#context)),
    });
    const staging = [allocate(), allocate()] as const;
    owner.use(cleanup.move());
    return staging;
  }

  #timed(copy: () => void): void {
    const start = performance.now();
    copy();
    this.#uploadMilliseconds += performance.now() - start;
  }

  [Symbol.dispose](): void {
    this.#owned[Symbol.dispose]();
  }
}

/** Cuts a tensor into pieces that fit the staging memory. The last piece does not have fewer than 16 elements, if possible. */
function pieces(
  { dtype }: BackendTensor,
  range: ElementRange,
): { start: number; length: number }[] {
  const maximum = stagingBytes / bytesPerElement(dtype);
  const result = [];
  for (let start = range.start; start < range.end;) {
    const left = range.end - start;
    const length = left <= maximum ? left : left < maximum + 16 ? maximum - pieceUnit : maximum;
    result.push({ start, length });
    start += length;
  }
  return result;
}
