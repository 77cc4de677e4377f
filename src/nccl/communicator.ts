// A communicator: the ranks that exchange rows of device memory.
import type { Nccl } from "./library.ts";

const bytesType = 1, f32Type = 7; // ncclUint8, ncclFloat32
const sumOperation = 0; // ncclSum

/** The bytes at a device pointer. */
export interface DeviceBytes {
  readonly pointer: bigint;
  readonly bytes: number;
}

/** What the communicator needs from its surroundings. */
export interface CommunicatorOptions {
  readonly nccl: Nccl;
  /** The number of this rank. */
  readonly rank: number;
  /** The number of ranks. */
  readonly ranks: number;
  /** The id that rank 0 created. */
  readonly id: Uint8Array<ArrayBuffer>;
  /** Makes the GPU's context current on this thread: NCCL takes the device from it. */
  readonly makeCurrent: () => void;
  /** Returns an error if a rank has been lost. NCCL then reports success, but the data are wrong. */
  readonly lost: () => Error | undefined;
  /** Called with the error when a call of NCCL fails. The other ranks then wait for this one in vain. */
  readonly onFailure: (error: Error) => void;
}

/** The communicator of a rank. All ranks must make the same calls in the same order. Every call is queued on a stream. */
export class Communicator implements Disposable {
  readonly rank: number;
  readonly ranks: number;
  readonly #options: CommunicatorOptions;
  readonly #graphs = new Set<Disposable>();
  #handle = 0n;
  #failed = false;

  /**
   * Connects to the other ranks and waits for them.
   *
   * @throws {NcclError} If the connection fails.
   */
  constructor(options: CommunicatorOptions) {
    const { rank, ranks, id, makeCurrent } = options;
    this.rank = rank;
    this.ranks = ranks;
    this.#options = options;
    const handle = new BigUint64Array(1);
    makeCurrent();
    this.#call("ncclCommInitRankScalable", handle, ranks, rank, 1, id, null);
    this.#handle = handle[0] ?? 0n;
    this.#checkAlive();
  }

  /** The ncclComm_t. */
  get handle(): bigint {
    return this.#handle;
  }

  /**
   * Takes over a captured graph that contains calls of this communicator. It is disposed before the communicator, whose end would
   * otherwise wait for the graph forever.
   */
  own<Graph extends Disposable>(graph: Graph): Graph {
    this.#graphs.add(graph);
    return graph;
  }

  /** Disposes a graph that {@linkcode Communicator.own} took over. */
  disown(graph: Disposable): void {
    if (this.#graphs.delete(graph)) graph[Symbol.dispose]();
  }

  /** Runs several calls as one operation. */
  group(run: () => void): void {
    this.#begin();
    this.#call("ncclGroupStart");
    try {
      run();
    } catch (error) {
      this.#endFailedGroup();
      throw error;
    }
    this.#call("ncclGroupEnd");
    this.#checkAlive();
  }

  /** A group must be ended even after a failed call: the depth of groups belongs to the thread. */
  #endFailedGroup(): void {
    try {
      this.#options.nccl.call("ncclGroupEnd");
    } catch {
      // The first error is the one to report.
    }
  }

  /** Sends `send[r]` to rank r and receives `receive[r]` from it. Empty parts are skipped on both sides. */
  exchange(send: readonly DeviceBytes[], receive: readonly DeviceBytes[], stream: bigint): void {
    const queue = (api: "ncclSend" | "ncclRecv", part: DeviceBytes | undefined, peer: number) => {
      if (!part || part.bytes === 0) return;
      this.#call(api, part.pointer, BigInt(part.bytes), bytesType, peer, this.#handle, stream);
    };
    this.group(() => {
      for (let peer = 0; peer < this.ranks; peer++) {
        queue("ncclSend", send[peer], peer);
        queue("ncclRecv", receive[peer], peer);
      }
    });
  }

  /** Gathers the same number of bytes from every rank, in the order of the ranks. */
  allGather({ pointer, bytes }: DeviceBytes, target: bigint, stream: bigint): void {
    this.#begin();
    this.#call("ncclAllGather", pointer, target, BigInt(bytes), bytesType, this.#handle, stream);
    this.#checkAlive();
  }

  /** Sums f32 numbers over all ranks. Each rank receives `count` of the sums: rank 0 the first ones, and so on. */
  reduceScatter(source: bigint, target: bigint, count: number, stream: bigint): void {
    this.#begin();
    this.#call("ncclReduceScatter", source, target, BigInt(count), f32Type, sumOperation, this.#handle, stream);
    this.#checkAlive();
  }

  #begin(): void {
    if (this.#handle === 0n) throw new TypeError("Cannot use a communicator that is disposed");
    this.#checkAlive();
    this.#options.makeCurrent();
  }

  readonly #call: Nccl["call"] = (api, ...args) => {
    try {
      this.#options.nccl.call(api, ...args);
    } catch (error) {
      this.#failed = true;
      if (error instanceof Error) this.#options.onFailure(error);
      throw error;
    }
  };

  #checkAlive(): void {
    const error = this.#options.lost();
    if (error) throw error;
  }

  /** Disposes the graphs and leaves the other ranks. After a rank was lost, the watchdog has aborted the communicator. */
  [Symbol.dispose](): void {
    const handle = this.#handle;
    this.#handle = 0n;
    if (handle === 0n) return;
    using cleanup = new DisposableStack();
    cleanup.defer(() => {
      if (this.#options.lost() && !this.#failed) return;
      this.#options.makeCurrent();
      try {
        if (!this.#failed) this.#call("ncclCommDestroy", handle); // it would wait for the other ranks after a failed call
      } finally {
        if (this.#failed) this.#call("ncclCommAbort", handle);
      }
    });
    for (const graph of this.#graphs) cleanup.use(graph);
    this.#graphs.clear();
  }
}
