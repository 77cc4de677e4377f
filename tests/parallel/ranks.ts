// Starts a program once for each rank, on emulated GPUs and the emulator's NCCL.
import { freePort } from "../../src/world/free_port.ts";
import type { Emulator } from "../emulator/build.ts";

/** What a rank left. */
export interface RankOutcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Ranks that are running. */
export interface Ranks extends AsyncDisposable {
  readonly processes: readonly Deno.ChildProcess[];
  /** Waits until a rank has printed a line. */
  printed(rank: number, line: string): Promise<void>;
  /** Waits for all ranks. */
  readonly outcomes: Promise<RankOutcome[]>;
}

/** Starts a program, with its arguments and environment, on `count` ranks. */
export async function startRanks(
  emulator: Emulator,
  count: number,
  args: readonly string[],
  env: (rank: number) => Record<string, string> = () => ({}),
): Promise<Ranks> {
  const folder = await Deno.makeTempDir({ prefix: "yamoe-nccl-" });
  const port = `${freePort()}`;
  const processes = Array.from({ length: count }, (_, rank) =>
    new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-check", "--no-prompt", "-A", ...args],
      env: {
        NO_COLOR: "1",
        LD_LIBRARY_PATH: emulator.folder,
        YAMOE_EMULATOR: `devices=${count}`,
        YAMOE_NCCL_FOLDER: folder,
        ...{ RANK: `${rank}`, WORLD_SIZE: `${count}`, LOCAL_RANK: `${rank}` },
        ...{ MASTER_ADDR: "127.0.0.1", MASTER_PORT: port, YAMOE_SECRET: "test" },
        ...env(rank),
      },
      stdout: "piped",
      stderr: "piped",
      stdin: "null",
    }).spawn());
  const killAll = () => {
    for (const process of processes) {
      try {
        process.kill("SIGKILL");
      } catch {
        // It has ended.
      }
    }
  };
  const timer = setTimeout(killAll, 100_000); // ranks that wait for each other must not block the tests
  const texts = processes.map((process) => new LineReader(process.stdout));
  const outcomes = Promise.all(processes.map(async (process, rank) => {
    const [{ code }, stdout, stderr] = await Promise.all([
      process.status,
      texts[rank]?.all ?? "",
      new Response(process.stderr).text(),
    ]);
    return { code, stdout, stderr };
  }));
  return {
    processes,
    outcomes,
    printed: async (rank, line) => await texts[rank]?.printed(line),
    async [Symbol.asyncDispose]() {
      clearTimeout(timer);
      killAll();
      await outcomes;
      await Deno.remove(folder, { recursive: true });
    },
  };
}

/** Collects what a process prints. */
class LineReader {
  /** The whole text, when it has ended. */
  readonly all: Promise<string>;
  #text = "";
  #wake = Promise.withResolvers<void>();
  #ended = false;

  constructor(stream: ReadableStream<Uint8Array>) {
    this.all = this.#collect(stream);
  }

  async #collect(stream: ReadableStream<Uint8Array>): Promise<string> {
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      this.#text += decoder.decode(chunk, { stream: true });
      this.#notify();
    }
    this.#ended = true;
    this.#notify();
    return this.#text;
  }

  #notify(): void {
    this.#wake.resolve();
    this.#wake = Promise.withResolvers<void>();
  }

  /** Waits until a line is printed, or the process ends. */
  async printed(line: string): Promise<void> {
    while (!this.#ended && !this.#text.split("\n").includes(line)) await this.#wake.promise;
  }
}
