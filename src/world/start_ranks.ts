// Starts the ranks of a run on this host.
import { freePort } from "./free_port.ts";

/** Milliseconds that the other ranks have to end by themselves after one has failed. */
const patience = 3000;

/** What to start. */
export interface RankProgram {
  /** The number of ranks. */
  readonly ranks: number;
  /** The program, and its arguments. */
  readonly command: string;
  readonly args: readonly string[];
  /** Variables to set besides those that place a rank. */
  readonly env?: Readonly<Record<string, string>>;
}

/** What the ranks left. */
export interface RankResult {
  /** The first rank that failed, and its exit code; undefined if all ended with 0. */
  readonly failed: { readonly rank: number; readonly code: number } | undefined;
  /** What rank 0 wrote to standard output. */
  readonly stdout: string;
  /** The lines that the ranks wrote to standard error, each once. */
  readonly stderr: readonly string[];
}

/** The processes of a run. */
export interface RankProcesses {
  readonly result: Promise<RankResult>;
  /** Ends all of them at once. */
  kill(): void;
}

/**
 * Starts one process for each rank. They meet on a free port of this host. If one fails, the others are ended unless they end by
 * themselves.
 *
 * @param onError Called with each line that a rank writes to standard error, once if several write the same.
 */
export function startRanks(
  { ranks, command, args, env = {} }: RankProgram,
  onError: (line: string) => void = () => {},
): RankProcesses {
  const port = freePort();
  const secret = crypto.randomUUID();
  const processes = Array.from({ length: ranks }, (_, rank) =>
    new Deno.Command(command, {
      args: [...args],
      env: {
        ...env,
        ...{ RANK: `${rank}`, WORLD_SIZE: `${ranks}`, LOCAL_RANK: `${rank}` },
        ...{ MASTER_ADDR: "127.0.0.1", MASTER_PORT: `${port}`, YAMOE_SECRET: secret },
      },
      ...{ stdin: "null", stdout: rank === 0 ? "piped" : "null", stderr: "piped" },
    }).spawn());
  const kill = () => processes.forEach(end);
  const lines = new Set<string>();
  const collect = async (process: Deno.ChildProcess) => {
    for await (const line of linesOf(process.stderr)) {
      if (lines.has(line)) continue;
      lines.add(line);
      onError(line);
    }
  };
  let failed: RankResult["failed"];
  let timer: ReturnType<typeof setTimeout> | undefined;
  const wait = async (process: Deno.ChildProcess, rank: number) => {
    const { success, code } = await process.status;
    if (success || failed) return;
    failed = { rank, code };
    timer = setTimeout(kill, patience);
  };
  const finish = async (): Promise<RankResult> => {
    const [first] = processes;
    const stdout = first ? new Response(first.stdout).text() : "";
    await Promise.all(processes.flatMap((process, rank) => [collect(process), wait(process, rank)]));
    clearTimeout(timer);
    return { failed, stdout: await stdout, stderr: [...lines] };
  };
  return { result: finish(), kill };
}

function end(process: Deno.ChildProcess): void {
  try {
    process.kill("SIGKILL");
  } catch {
    // It has ended.
  }
}

/** Yields the lines of a stream that are not empty. */
async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines.filter((line) => line !== "");
  }
  if (rest !== "") yield rest;
}
