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

/** The largest piece, unless one expert needs more. The staging memory has two: while one is copied, the caller uses the other. */
const stagingBytes = 32 * 2 ** 20;

/** The most pieces in the staging memory. Several small ones are made at the same time. */
const maximumSlots = 8;

/** Pieces begin at multiples of this many elements. */
const pieceUnit = 65536;

/** Memory for the pieces of a transfer. */
interface Staging {
  readonly memory: SharedArrayBuffer;
  /** The bytes of a slot. */
  slotBytes: number;
  /** The events of the slots, and of more if slots were smaller before. */
  readonly events: Event[];
  /** Owns the memory and the events. */
  readonly owner: DisposableStack;
}

/** The memory of a piece, from the byte `start` on. */
interface Slot {
  readonly memory: SharedArrayBuffer;
  readonly start: number;
  /** Recorded after each copy from or to the memory. */
  readonly copied: Event;
}

/** The transfers of a backend. */
export class Transfers implements Disposable {
  readonly #context: Context;
  readonly #stream: Stream;
  readonly #owned = new DisposableStack();
  readonly #free: Staging[] = [];
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
    return this.#write(pieces(tensor, resolveRange(tensor)), stagingBytes, 1, async ({ start, length }, slot) => {
      const piece = viewOf(dtype, slot.memory, slot.start, length);
      await produce(piece, start);
      return () => buffer.write(piece as BufferSource, start * bytesPerElement(dtype));
    });
  }

  /** Uploads a packed tensor piece by piece. `produce` makes several pieces at the same time. */
  uploadPacked(upload: PackedUpload, produce: ExpertsHandler): Promise<void> {
    return this.#write(upload.pieces, upload.bytes, maximumSlots / 2, async (range, { memory, start }) => {
      const piece = upload.piece(range, memory, start);
      await produce(piece, range.first);
      return () => upload.write(piece, range.first);
    });
  }

  /** Makes each piece, up to `atOnce` at the same time, in `bytes` of staging memory, and queues the copy that `make` returns. */
  #write<Piece>(
    pieces: readonly Piece[],
    bytes: number,
    atOnce: number,
    make: (piece: Piece, slot: Slot) => Promise<() => void>,
  ): Promise<void> {
    return this.#withStaging(bytes, async (free) => {
      await concurrently(pieces, Math.min(atOnce, free.length), async (piece) => {
        const slot = free.shift()!; // of the free ones, the one whose copy was queued first
        this.#timed(() => slot.copied.synchronize());
        const copy = await make(piece, slot);
        this.#timed(copy);
        slot.copied.record(this.#stream);
        free.push(slot);
      });
    });
  }

  /** Reads a tensor piece by piece. While `consume` looks at one piece, the next is copied. */
  read(tensor: CudaTensor, consume: PieceHandler, range: ElementRange): Promise<void> {
    return this.#withStaging(stagingBytes, async (slots) => {
      const { dtype } = tensor;
      const queue = pieces(tensor, range).map(({ start, length }, i) => () => {
        const { memory, start: from, copied } = slots[i % slots.length]!;
        const piece = viewOf(dtype, memory, from, length);
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
  #withStaging(bytes: number, transfer: (slots: Slot[]) => Promise<void>): Promise<void> {
    const isKept = bytes <= stagingBytes;
    const run = async () => {
      using temporary = new DisposableStack();
      const staging = isKept && this.#free.pop() ||
        this.#allocate(isKept ? this.#owned : temporary, 2 * Math.max(bytes, stagingBytes));
      if (!isKept) temporary.defer(() => this.#context.release("cuStreamSynchronize", this.#stream.handle));
      try {
        await this.#inTransfer.run(true, () => transfer(this.#slots(staging, bytes)));
      } finally {
        if (isKept) this.#free.push(staging);
      }
    };
    if (this.#inTransfer.getStore()) return run();
    const turn = this.#last.then(run);
    this.#last = turn.catch(() => {}); // the caller of the failed transfer handles the error
    return turn;
  }

  /** Divides staging memory into slots. If they had another size before, waits for their copies. */
  #slots(staging: Staging, bytes: number): Slot[] {
    const { memory, events, owner } = staging;
    const count = Math.min(maximumSlots, Math.floor(memory.byteLength / bytes));
    if (staging.slotBytes !== bytes) {
      this.#timed(() => events.forEach((copied) => copied.synchronize()));
      while (events.length < count) events.push(owner.use(new Event(this.#context)));
      staging.slotBytes = bytes;
    }
    return events.slice(0, count).map((copied, i) => ({ memory, start: i * bytes, copied }));
  }

  #allocate(owner: DisposableStack, bytes: number): Staging {
    const { memory } = owner.use(new StagingBuffer(this.#context, bytes));
    return { memory, slotBytes: 0, events: [], owner };
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
