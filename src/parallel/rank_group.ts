// One rank's GPU and its connection to the others.
import { MemoryCounter } from "../backend/memory_counter.ts";
import type { ResolvedExperts } from "../contract/resolve_experts.ts";
import type { CudaBackend } from "../cuda/backend.ts";
import { Event } from "../cuda/driver/event.ts";
import { GraphCache } from "../cuda/driver/graph_cache.ts";
import { DeviceBuffer, StagingBuffer } from "../cuda/driver/memory.ts";
import { Stream } from "../cuda/driver/stream.ts";
import { type Plan, planLaunches, type RowCounts } from "../cuda/plan/experts.ts";
import { Communicator, type DeviceBytes } from "../nccl/communicator.ts";
import type { Nccl } from "../nccl/library.ts";
import type { World } from "../world/world.ts";
import type { Part } from "./exchange_plan.ts";

/** The number of multiprocessors that products leave to an exchange beside them. */
export const exchangeMultiprocessors = 16;

/** The maximum number of plans that are kept. */
const planCount = 64;

/** The GPU of a rank, and the communicator that connects it to the GPUs of the other ranks. */
export class RankGroup implements Disposable {
  readonly inner: CudaBackend;
  readonly world: World;
  readonly communicator: Communicator;
  /** The minimum number of rows of an expert from each rank for which rows travel during the products. */
  readonly overlapRows: number;
  /** The graphs of repeated calls. The communicator owns them. */
  readonly graphs: GraphCache;
  readonly #copied: Event;
  readonly #forked: Event;
  readonly #barrierBytes: DeviceBuffer;
  /** The plans of calls, by their sizes. */
  readonly #plans = new Map<string, Plan>();
  readonly #owned: DisposableStack;
  readonly #stages: { read?: StagingBuffer; write?: StagingBuffer } = {};
  readonly #exchangeStream: Stream;

  /**
   * Connects to the other ranks. The backend and the world stay open when the group is closed.
   *
   * @throws {NcclError} If the connection fails.
   */
  constructor(
    inner: CudaBackend,
    world: World,
    nccl: Nccl,
    { overlapRows = 64 }: { readonly overlapRows?: number | undefined } = {},
  ) {
    const { context } = inner.host;
    using owned = new DisposableStack();
    this.inner = inner;
    this.world = world;
    this.overlapRows = overlapRows;
    this.#copied = owned.use(new Event(context));
    this.#barrierBytes = owned.use(new DeviceBuffer(inner.host.stream, 8 * world.ranks, new MemoryCounter()));
    this.#barrierBytes.clear();
    this.#forked = owned.use(new Event(context));
    this.#exchangeStream = owned.use(new Stream(context, { urgent: true }));
    owned.defer(() => {
      using stages = new DisposableStack();
      for (const stage of Object.values(this.#stages)) stages.use(stage);
    });
    this.communicator = owned.use(
      new Communicator({
        ...{ nccl, rank: world.rank, ranks: world.ranks, id: world.id },
        makeCurrent: () => context.makeCurrent(),
        lost: () => world.lost,
        onFailure: ({ message }) => world.fail(message),
      }),
    );
    world.watch(this.communicator.handle);
    owned.defer(() => world.watch(0n));
    this.graphs = this.communicator.own(new GraphCache());
    this.barrier(); // NCCL makes its connections on first use, which takes up to 0.2 s
    this.synchronize();
    this.#owned = owned.move();
  }

  /** The number of this rank. */
  get rank(): number {
    return this.world.rank;
  }

  /** The number of ranks. */
  get ranks(): number {
    return this.world.ranks;
  }

  /** The stream of all calls. */
  get stream(): bigint {
    return this.inner.host.stream.handle;
  }

  /** Queues an exchange of one byte with every rank. It ends on no rank before it has begun on all. */
  barrier(): void {
    this.world.countCall();
    const byte = (i: number): DeviceBytes => ({ pointer: this.#barrierBytes.pointer + BigInt(4 * i), bytes: 1 });
    const numbers = Array.from({ length: this.ranks }, (_, i) => i);
    this.communicator.exchange(numbers.map(byte), numbers.map((i) => byte(this.ranks + i)), this.stream);
  }

  /** Waits for all queued work, and throws if a rank was lost meanwhile. */
  synchronize(): void {
    this.inner.host.beforeWait("synchronize");
    this.inner.host.stream.synchronize();
    this.checkAlive();
  }

  /**
   * Throws if a rank was lost. Waiting for the device then succeeds, but the data are wrong.
   *
   * @throws {RankLostError} If a rank was lost.
   */
  checkAlive(): void {
    const { lost } = this.world;
    if (lost) throw lost;
  }

  /**
   * Plans a call of this rank's experts.
   *
   * @param rows What is known of the number of their rows.
   * @param reserved The number of multiprocessors that the products leave free.
   */
  plan(shape: ResolvedExperts, rows: RowCounts, reserved: number): Plan {
    const key = JSON.stringify([shape, rows, reserved]);
    const { kernels } = this.inner.host;
    const { multiprocessors, ...properties } = this.inner.host.device;
    const device = { ...properties, multiprocessors: Math.max(1, multiprocessors - reserved) };
    const plan = this.#plans.get(key) ?? planLaunches(shape, device, kernels, undefined, rows);
    this.#plans.delete(key); // the newest last
    this.#plans.set(key, plan);
    if (this.#plans.size > planCount) this.#plans.delete(this.#plans.keys().next().value ?? "");
    return plan;
  }

  /**
   * Runs exchanges on a stream of their own, beside work on the stream of all calls.
   *
   * @param exchange Queues the exchanges, after all that is queued already.
   * @param beside Queues the other work. All that is queued later follows both.
   */
  beside(exchange: (stream: bigint) => void, beside: () => void): void {
    const { stream } = this.inner.host;
    this.#forked.record(stream);
    this.#forked.block(this.#exchangeStream);
    exchange(this.#exchangeStream.handle);
    beside();
    this.#forked.record(this.#exchangeStream);
    this.#forked.block(stream);
  }

  /** Starts to copy integers from device memory. The result waits for the copy and returns them until the next call. */
  readBack(pointer: bigint, count: number): () => Int32Array {
    const { context, stream } = this.inner.host;
    const target = this.#stage("read", count);
    context.call("cuMemcpyDtoHAsync_v2", target as unknown as BufferSource, pointer, BigInt(4 * count), stream.handle);
    this.#copied.record(stream);
    return () => {
      this.inner.host.beforeWait("exchange assignments");
      this.#copied.synchronize();
      this.checkAlive();
      return target;
    };
  }

  /** Queues a copy of integers to device memory. The copy of the call before must be complete, as it is after a read-back. */
  write(pointer: bigint, integers: Int32Array): void {
    const { context, stream } = this.inner.host;
    const source = this.#stage("write", integers.length);
    source.set(integers);
    const bytes = BigInt(integers.byteLength);
    context.call("cuMemcpyHtoDAsync_v2", pointer, source as unknown as BufferSource, bytes, stream.handle);
  }

  /** Returns page-locked memory for integers, so that a copy does not wait for the stream. */
  #stage(use: "read" | "write", count: number): Int32Array {
    let stage = this.#stages[use];
    if (!stage || stage.memory.byteLength < 4 * count) {
      stage?.[Symbol.dispose]();
      stage = this.#stages[use] = new StagingBuffer(this.inner.host.context, 4 * Math.max(1, count));
    }
    return new Int32Array(stage.memory, 0, count);
  }

  [Symbol.dispose](): void {
    this.#owned[Symbol.dispose]();
  }
}

/** Returns the bytes of parts of a buffer of rows. */
export function partBytes(pointer: bigint, parts: readonly Part[], rowBytes: number): DeviceBytes[] {
  return parts.map(({ start, rows }) => ({ pointer: pointer + BigInt(start * rowBytes), bytes: rows * rowBytes }));
}
