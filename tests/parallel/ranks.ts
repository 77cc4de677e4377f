// Starts a program once for each rank, on emulated GPUs and the emulator's NCCL.
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
  /** Waits for all ranks. */
  readonly outcomes: Promise<RankOutcome[]>;
}

let lastPort = 20000 + Deno.pid % 20000;

/** Starts a program, with its arguments and environment, on `count` ranks. */
export async function startRanks(
  emulator: Emulator,
  count: number,
  args: readonly string[],
  env: (rank: number) => Record<string, string> = () => ({}),
): Promise<Ranks> {
  const folder = await Deno.makeTempDir({ prefix: "yamoe-nccl-" });
  const port = `${lastPort += 7}`;
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
  const outcomes = Promise.all(processes.map(async (process) => {
    const { code, stdout, stderr } = await process.output();
    const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { code, stdout: decode(stdout), stderr: decode(stderr) };
  }));
  return {
    processes,
    outcomes,
    async [Symbol.asyncDispose]() {
      for (const process of processes) {
        try {
          process.kill("SIGKILL");
        } catch {
          // It has ended.
        }
      }
      await outcomes;
      await Deno.remove(folder, { recursive: true });
    },
  };
}
