// Notices within milliseconds that a rank has ended, even while the main thread is blocked in a call of NCCL or of the driver: a
// worker holds a connection to rank 0 and sees it end. NCCL itself does not report such a rank on the same host; its calls wait forever.
import type { Member } from "./members.ts";

/** Options of a {@linkcode Watchdog}. */
export interface WatchdogOptions {
  readonly rank: number;
  readonly ranks: number;
  /** The address and the port of rank 0's watchdog. On rank 0 itself, the address to listen on, and 0 for any port. */
  readonly host: string;
  readonly port: number;
  /** What the ranks' watchdogs send first, so that a stranger is not taken for a rank. */
  readonly token: string;
  /** The path of NCCL. */
  readonly library: string;
  /** Whether to end the process with one line on standard error and exit code 1 if a rank is lost. */
  readonly exit: boolean;
}

/** The integers that the worker and the main thread share. */
const slots = { lost: 0, left: 1, communicator: 2, textLength: 4, calls: 5, count: 6 } as const;

/** How often a rank looks whether it waits for one that has left, in milliseconds. */
const interval = 50;

/** Watches the other ranks. */
export class Watchdog implements Disposable {
  /** The port of rank 0's watchdog. */
  readonly port: Promise<number>;
  /** Resolves when all watchdogs are connected. */
  readonly connected: Promise<void>;
  /** Resolves with the reason when a rank is lost. */
  readonly whenLost: Promise<string>;
  readonly #worker: Worker;
  readonly #state = new Int32Array(new SharedArrayBuffer(slots.count * 4));
  readonly #text = new Uint8Array(new SharedArrayBuffer(1024));

  constructor(options: WatchdogOptions) {
    const source = `(${watch})(${JSON.stringify({ ...options, slots, interval })});`;
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    this.#worker = new Worker(url, { type: "module", name: "yamoe watchdog" });
    URL.revokeObjectURL(url);
    const port = Promise.withResolvers<number>();
    const connected = Promise.withResolvers<void>();
    const lost = Promise.withResolvers<string>();
    [this.port, this.connected, this.whenLost] = [port.promise, connected.promise, lost.promise];
    this.#worker.addEventListener("message", ({ data }: MessageEvent) => {
      if ("port" in data) port.resolve(data.port);
      if ("connected" in data) connected.resolve();
      if ("failed" in data) { for (const { reject } of [port, connected]) reject(new Error(data.failed)); }
      if ("lost" in data) lost.resolve(data.lost);
    });
    for (const promise of [port.promise, connected.promise]) promise.catch(() => {}); // reported to who waits
    this.#worker.postMessage({ state: this.#state, text: this.#text });
  }

  /** Begins to act on lost ranks. Before, the ranks join and report problems themselves. */
  start(members: readonly Member[]): void {
    this.#worker.postMessage({ hosts: members.map(({ host }) => host) });
  }

  /** Sets the communicator to abort when a rank is lost; 0 for none. */
  set communicator(handle: bigint) {
    Atomics.store(this.#state, slots.communicator, Number(handle & 0xffffffffn) | 0);
    Atomics.store(this.#state, slots.communicator + 1, Number(handle >> 32n) | 0);
  }

  /** The reason why a rank is lost; undefined if none is. */
  get lost(): string | undefined {
    if (Atomics.load(this.#state, slots.lost) === 0) return undefined;
    return new TextDecoder().decode(this.#text.slice(0, Atomics.load(this.#state, slots.textLength)));
  }

  /** Counts a call that all ranks must make. A rank that leaves before the others have made as many is lost. */
  countCall(): void {
    Atomics.add(this.#state, slots.calls, 1);
  }

  /** Informs the other ranks that this one makes no further calls. Returns at once. */
  finish(): void {
    this.#worker.postMessage({ finished: true });
  }

  /** Informs the other ranks that this one ends, and why if it failed. Returns when they have been informed. */
  leave(failure: string | null): void {
    this.#worker.postMessage({ leave: failure });
    Atomics.wait(this.#state, slots.left, 0, 1000);
    this.#worker.terminate();
  }

  [Symbol.dispose](): void {
    this.leave(null);
  }
}

/** The worker's source. It must not use anything outside. */
function watch(
  { rank, ranks, host, port, token, library, exit, slots, interval }: WatchdogOptions & {
    readonly slots: { readonly [Name in "lost" | "left" | "communicator" | "textLength" | "calls"]: number };
    readonly interval: number;
  },
): void {
  interface Peer {
    readonly socket: Deno.TcpConn;
    /** The rank at the other end; undefined until it has sent the token. */
    rank: number | undefined;
    left: boolean;
  }
  const scope = self as unknown as { postMessage(message: unknown): void };
  const encode = (text: string) => new TextEncoder().encode(text);
  const { symbols } = Deno.dlopen(library, {
    _exit: { parameters: ["i32"], result: "void" }, // libc's: a worker's Deno.exit ends only the worker
    ncclCommAbort: { parameters: ["u64"], result: "i32" },
  });
  const peers: Peer[] = [];
  let state = new Int32Array(8), text = new Uint8Array(0);
  let hosts: readonly string[] | undefined;
  let ended = false;
  const early: [number, string | null][] = [];
  const calls = () => Atomics.load(state, slots.calls);

  addEventListener("message", async (event) => {
    if (!(event instanceof MessageEvent)) return;
    const { data } = event;
    if (data.state) [state, text] = [data.state, data.text];
    if (data.hosts) {
      hosts = data.hosts;
      for (const [lostRank, reason] of early) await lose(lostRank, reason);
    }
    if (data.finished) await tellAll({ left: calls() });
    if ("leave" in data) {
      ended = true;
      await tellAll(data.leave === null ? { left: calls() } : { lost: rank, reason: data.leave });
      for (const { socket } of peers) socket.close();
      Atomics.store(state, slots.left, 1);
      Atomics.notify(state, slots.left);
    }
  });
  if (rank === 0) listen();
  else {
    connect().catch(({ message }: Error) =>
      scope.postMessage({ failed: `Cannot join rank 0 at ${host}:${port}: ${message}` })
    );
  }

  function listen(): void {
    const listener = Deno.listen({ hostname: host, port });
    scope.postMessage({ port: listener.addr.port });
    (async () => {
      for await (const socket of listener) follow({ socket, rank: undefined, left: false });
    })();
  }

  async function connect(): Promise<void> {
    const socket = await Deno.connect({ hostname: host, port });
    await socket.write(encode(`${JSON.stringify({ token, rank })}\n`));
    follow({ socket, rank: 0, left: false });
  }

  /** Reads the messages of a peer until its connection ends. */
  async function follow(peer: Peer): Promise<void> {
    if (peer.rank !== undefined) join(peer);
    const buffer = new Uint8Array(4096);
    let line = "";
    for (;;) {
      const read = await peer.socket.read(buffer).catch(() => null);
      if (read === null) break;
      line += new TextDecoder().decode(buffer.subarray(0, read));
      for (let end = line.indexOf("\n"); end >= 0; end = line.indexOf("\n")) {
        const text = line.slice(0, end);
        line = line.slice(end + 1);
        try {
          await take(peer, JSON.parse(text));
        } catch {
          break; // a stranger
        }
      }
      if (peer.rank === undefined && line.length > 1024) break;
    }
    if (peer.rank !== undefined && !peer.left) await lose(peer.rank, null);
  }

  async function take(
    peer: Peer,
    message: { token?: string; rank?: number; left?: number; lost?: number; reason?: string | null },
  ): Promise<void> {
    if (message.token === token && peer.rank === undefined && message.rank !== undefined) {
      peer.rank = message.rank;
      join(peer);
    }
    if (peer.rank === undefined) return;
    if (message.left !== undefined && !peer.left) {
      const { rank } = peer, made = message.left;
      peer.left = true;
      const timer = setInterval(() => {
        if (calls() <= made) return;
        clearInterval(timer);
        void lose(rank, "it left while other ranks needed it");
      }, interval);
    }
    if (message.lost !== undefined) await lose(message.lost, message.reason ?? null);
  }

  function join(peer: Peer): void {
    peers.push(peer);
    if (rank !== 0 || peers.length === ranks - 1) scope.postMessage({ connected: true });
  }

  async function tellAll(message: unknown): Promise<void> {
    await Promise.all(peers.map(({ socket }) => socket.write(encode(`${JSON.stringify(message)}\n`)).catch(() => {})));
  }

  /** Handles a lost rank: informs the others, then ends this process or aborts its communicator. */
  async function lose(lostRank: number, reason: string | null): Promise<void> {
    if (ended) return;
    if (!hosts) {
      early.push([lostRank, reason]);
      return;
    }
    ended = true;
    if (rank === 0) await tellAll({ lost: lostRank, reason });
    const where = `rank ${lostRank} on ${hosts[lostRank]}`;
    const message = reason === null ? `${where} has ended unexpectedly` : `${where} failed: ${reason}`;
    const [low = 0, high = 0] = [0, 1].map((i) => Atomics.load(state, slots.communicator + i));
    const communicator = BigInt(low >>> 0) | BigInt(high >>> 0) << 32n;
    // Without a communicator to abort, the main thread may wait in NCCL's initialization forever.
    if (exit || communicator === 0n) {
      Deno.stderr.writeSync(encode(`yamoe: ${message}\n`));
      symbols._exit(1);
    }
    const bytes = encode(message).subarray(0, text.length);
    text.set(bytes);
    Atomics.store(state, slots.textLength, bytes.length);
    Atomics.store(state, slots.lost, 1);
    scope.postMessage({ lost: message });
    symbols.ncclCommAbort(communicator);
  }
}
