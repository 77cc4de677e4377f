// The ranks of a run: they meet, agree on NCCL's id, exchange small values through rank 0, and notice when one is lost.
import { version } from "../version.ts";
import { Connection, proof } from "./connection.ts";
import type { Placement } from "./launcher.ts";
import { isMember, joinProblem, type Member } from "./members.ts";
import { RankLostError } from "./rank_lost_error.ts";
import { Watchdog } from "./watchdog.ts";

/** The version of the messages that ranks exchange when they join. */
const protocol = 1;

/** After a rank that does not fit, rank 0 waits this long for others to arrive, so that they hear the reason; in milliseconds. */
const lateness = 500;

/** Options of {@linkcode joinWorld}. */
export interface WorldOptions {
  readonly placement: Pick<Placement, "rank" | "ranks" | "host" | "port" | "secret">;
  /** The version and the path of NCCL. */
  readonly nccl: { readonly version: number; readonly path: string; createId(): Uint8Array<ArrayBuffer> };
  /** The UUID of this rank's GPU. */
  readonly gpu: string;
  /** The name of this host. */
  readonly host: string;
  /** How long to wait for the other ranks, in milliseconds. */
  readonly timeout: number;
  /** Whether the process ends with one line and exit code 1 if a rank is lost. Otherwise, calls throw. */
  readonly exitWhenLost: boolean;
  /** Called on rank 0 with its port when the other ranks can connect. */
  readonly onListening?: ((port: number) => void) | undefined;
}

/** What rank 0 sends to a rank when all have arrived. */
interface Welcome {
  readonly id: string;
  readonly port: number;
  readonly token: string;
  readonly members: Member[];
}

/**
 * Joins the other ranks and waits until all have arrived.
 *
 * @throws {Error} If a rank does not arrive in time, or the ranks do not fit together. Every rank that has joined throws.
 */
export async function joinWorld(options: WorldOptions): Promise<World> {
  const { placement: { rank, ranks }, nccl, gpu, host, timeout } = options;
  const own: Member = { rank, ranks, version, nccl: nccl.version, host, gpu };
  if (ranks === 1) return new World([own], 0, nccl.createId(), [], undefined);
  using cleanup = new DisposableStack();
  const timer = Promise.withResolvers<never>();
  // Rank 0 gives up first, so that the others hear from it which rank is missing.
  const patience = rank === 0 ? timeout : timeout + 2000;
  const clock = setTimeout(
    () => timer.reject(new Error(`not all ranks have arrived within ${timeout / 1000} s`)),
    patience,
  );
  cleanup.defer(() => clearTimeout(clock));
  timer.promise.catch(() => {});
  const world =
    await (rank === 0 ? gather(options, own, timer.promise, cleanup) : arrive(options, own, timer.promise, cleanup));
  clearTimeout(clock);
  return world;
}

/** Joins as rank 0: waits for all others. */
async function gather(
  { placement: { host, port, secret, ranks }, nccl, exitWhenLost, onListening }: WorldOptions,
  own: Member,
  timeout: Promise<never>,
  cleanup: DisposableStack,
): Promise<World> {
  const members: [Member, ...Member[]] = [own];
  const peers = new Map<number, Connection>(), refused: Connection[] = [];
  using held = new DisposableStack();
  const hostname = isLoopback(host) ? "127.0.0.1" : "0.0.0.0";
  using listener = Deno.listen({ hostname, port });
  const ready: Promise<void>[] = [];
  const complete = Promise.withResolvers<void>();
  const accept = async (connection: Connection) => {
    const nonce = crypto.randomUUID();
    await connection.send({ yamoe: protocol, nonce });
    const hello = await connection.receive() as { proof?: unknown; nonce?: unknown; member?: unknown } | undefined;
    if (!hello || !isMember(hello.member)) return; // a stranger
    if (hello.proof !== await proof(secret, nonce, "join")) {
      return await connection.send({ refused: "the secret differs from that of rank 0" });
    }
    const problem = joinProblem(hello.member, members);
    if (problem !== undefined) {
      refused.push(connection); // it hears the reason with the others
      setTimeout(() => complete.reject(new Error(problem)), lateness);
      return;
    }
    await connection.send({ proof: await proof(secret, String(hello.nonce), "welcome") });
    const { rank, host } = hello.member;
    members.push(hello.member);
    peers.set(rank, connection);
    const answer = connection.receive().then((message) => {
      if (message === undefined) throw new Error(`rank ${rank} on ${host} ended while the others were joining`);
    });
    answer.catch(complete.reject);
    ready.push(answer);
    if (peers.size === ranks - 1) complete.resolve();
  };
  (async () => {
    for await (const socket of listener) {
      const connection = held.use(new Connection(socket));
      accept(connection).catch(() => {}); // a stranger, or a rank that has ended; the timeout reports a missing rank
    }
  })().catch(() => {}); // the listener is closed
  onListening?.(listener.addr.port);

  const connections = () =>
    Array.from({ length: ranks - 1 }, (_, i) => peers.get(i + 1)).filter((c) => c !== undefined);
  try {
    await Promise.race([
      complete.promise,
      timeout.catch(() => {
        const missing = Array.from({ length: ranks - 1 }, (_, i) => i + 1).filter((r) => !peers.has(r));
        throw new Error(`rank ${missing.join(", ")} did not arrive in time`);
      }),
    ]);
    const token = crypto.randomUUID();
    const watchdog = cleanup.use(
      new Watchdog({ ...{ rank: 0, ranks, host: hostname, port: 0, token, library: nccl.path }, exit: exitWhenLost }),
    );
    const id = nccl.createId();
    members.sort((a, b) => a.rank - b.rank);
    const welcome: Welcome = { id: id.toHex(), port: await watchdog.port, token, members };
    await sendAll(connections(), welcome);
    await Promise.race([Promise.all([watchdog.connected, ...ready]), timeout]);
    await sendAll(connections(), { go: true });
    watchdog.start(members);
    held.move();
    cleanup.move();
    return new World(members, 0, id, connections(), watchdog);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    await sendAll([...connections(), ...refused], { refused: reason });
    throw new Error(`Cannot start ${ranks} ranks: ${reason}`);
  }
}

/** Joins as another rank. */
async function arrive(
  { placement: { host, port, secret, ranks }, nccl, timeout: patience, exitWhenLost }: WorldOptions,
  own: Member,
  timeout: Promise<never>,
  cleanup: DisposableStack,
): Promise<World> {
  const fail = (reason: string) => new Error(`Cannot join rank 0 at ${host}:${port}: ${reason}`);
  using held = new DisposableStack();
  const deadline = performance.now() + patience;
  const connection = held.use(new Connection(await connectUntil(host, port, () => performance.now() > deadline, fail)));
  const receive = async () => {
    const message = await Promise.race([
      connection.receive(),
      timeout.catch((error) => {
        throw fail(error.message);
      }),
    ]) as Record<string, unknown> | undefined;
    if (message === undefined) throw fail("it has ended");
    if (message.refused !== undefined) throw fail(String(message.refused));
    return message;
  };
  const challenge = await receive();
  if (challenge.yamoe !== protocol) throw fail("another program listens there, or another version of yamoe");
  const nonce = crypto.randomUUID();
  await connection.send({ member: own, nonce, proof: await proof(secret, String(challenge.nonce), "join") });
  if ((await receive()).proof !== await proof(secret, nonce, "welcome")) throw fail("its secret differs");
  const { id, port: watchdogPort, token, members } = await receive() as unknown as Welcome;
  const watchdog = cleanup.use(
    new Watchdog({
      ...{ rank: own.rank, ranks, host, port: watchdogPort, token, library: nccl.path },
      exit: exitWhenLost,
    }),
  );
  await Promise.race([watchdog.connected, timeout]);
  await connection.send({ ready: true });
  await receive();
  watchdog.start(members);
  held.move();
  cleanup.move();
  return new World(members, own.rank, Uint8Array.fromHex(id), [connection], watchdog);
}

/** Connects to rank 0, which may start later. */
async function connectUntil(
  hostname: string,
  port: number,
  isExpired: () => boolean,
  fail: (reason: string) => Error,
): Promise<Deno.TcpConn> {
  for (;;) {
    try {
      return await Deno.connect({ hostname, port });
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw error;
      if (isExpired()) throw fail(error instanceof Error ? error.message : String(error));
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

async function sendAll(connections: readonly Connection[], message: unknown): Promise<void> {
  await Promise.all(connections.map((connection) => connection.send(message).catch(() => {}))); // a rank may have ended
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host.startsWith("127.");
}

/** The ranks of a run, seen from one of them. */
export class World implements Disposable {
  /** All ranks, in order. */
  readonly members: readonly Member[];
  /** The number of this rank. */
  readonly rank: number;
  /** The number of ranks. */
  readonly ranks: number;
  /** NCCL's id. */
  readonly id: Uint8Array<ArrayBuffer>;
  /** On rank 0, the connections to ranks 1, 2 and so on; on another rank, the connection to rank 0. */
  readonly #connections: readonly Connection[];
  readonly #watchdog: Watchdog | undefined;
  #left = false;
  #failure: string | undefined;

  constructor(
    members: readonly Member[],
    rank: number,
    id: Uint8Array<ArrayBuffer>,
    connections: readonly Connection[],
    watchdog: Watchdog | undefined,
  ) {
    this.members = members;
    this.rank = rank;
    this.ranks = members.length;
    this.id = id;
    this.#connections = connections;
    this.#watchdog = watchdog;
  }

  /** Sets the communicator that is aborted when a rank is lost; 0 for none. */
  watch(communicator: bigint): void {
    if (this.#watchdog) this.#watchdog.communicator = communicator;
  }

  /** Informs the other ranks that this one makes no further calls. Call it before closing the communicator, which can block. */
  finish(): void {
    this.#watchdog?.finish();
  }

  /** Counts a call that all ranks must make, so that a rank that leaves too early is noticed. */
  countCall(): void {
    this.#watchdog?.countCall();
  }

  /** The error to throw after a rank was lost, or this one has failed; undefined if none was. */
  get lost(): RankLostError | undefined {
    const reason = this.#watchdog?.lost ?? (this.#failure && `this rank has failed: ${this.#failure}`);
    return reason === undefined ? undefined : new RankLostError(`Cannot continue: ${reason}`);
  }

  /**
   * Collects a JSON value from every rank. All ranks must call it.
   *
   * @returns The values in the order of the ranks.
   * @throws {RankLostError} If a rank is lost.
   */
  async allGather<Value>(value: Value): Promise<Value[]> {
    this.countCall();
    const [first] = this.#connections;
    if (!first) return [value];
    if (this.rank > 0) {
      await first.send(value);
      return await this.#receive(first) as Value[];
    }
    const values = [
      value,
      ...await Promise.all(this.#connections.map((peer) => this.#receive(peer) as Promise<Value>)),
    ];
    await sendAll(this.#connections, values);
    return values;
  }

  async #receive(connection: Connection): Promise<unknown> {
    const lost = this.#watchdog?.whenLost.then(() => undefined);
    const message = await (lost ? Promise.race([connection.receive(), lost]) : connection.receive());
    if (message !== undefined) return message;
    await this.#watchdog?.whenLost; // the watchdog knows which rank it is
    throw this.lost ?? new RankLostError("Cannot continue: a rank has ended");
  }

  /** Leaves the other ranks because this one failed. They end too, and name the reason. */
  fail(reason: string): void {
    this.#failure ??= reason;
    this.#leave(reason);
  }

  #leave(failure: string | null): void {
    if (this.#left) return;
    this.#left = true;
    this.#watchdog?.leave(failure);
    for (const connection of this.#connections) connection[Symbol.dispose]();
  }

  /** Leaves the other ranks. A second call does nothing. */
  [Symbol.dispose](): void {
    this.#leave(null);
  }
}
