// The flags for several GPUs, and the processes that use them: the first process starts one for each GPU, unless a launcher such as
// torchrun has started them.
import type { Backend } from "../backend/backend.ts";
import type { PlaceRequest } from "../bench/sweep.ts";
import { openCudaBackend } from "../cuda/backend.ts";
import { openParallel } from "../parallel/open_parallel.ts";
import { isParallel } from "../parallel/parallel_backend.ts";
import { type Placement, placementFrom, readVariable } from "../world/launcher.ts";
import { type RankProcesses, type RankResult, startRanks } from "../world/start_ranks.ts";
import { exitCode } from "./command.ts";
import { choice, file, integer } from "./flags.ts";
import { muteStdout } from "./streams.ts";
import { UsageError } from "./usage_error.ts";

/** The flags that place a job on several GPUs. */
export const gpusFlags = {
  gpus: integer("N", "Share the experts over N GPUs, each with the job's tokens; needs NCCL", 1, 65536),
  exchange: choice(
    "NAME",
    "How rows travel between the GPUs (default: auto)",
    ["auto", "assignments", "tokens"] as const,
  ),
};

/** The flag for the library. */
export const ncclFlag = file("PATH", "The NCCL library (default: libnccl.so.2 of the system or of Python)");

/** The variable that tells a rank which configuration of a sweep to run. */
const configurationVariable = "YAMOE_CONFIGURATION";

/** What the command needs to start ranks. A rank needs all but the last one. */
const permissions = ["ffi", "net", "env", "read", "sys", "run"] as const;

/** The beginning of the line with which a process reports why it failed. */
const errorPrefix = "yamoe: ";

/** The part of this process: it starts the ranks, or it is one. */
export type Part = { readonly kind: "starter" } | {
  readonly kind: "rank";
  readonly placement: Placement;
  /** The number of the only configuration to run, if {@linkcode RankRunner} has started the rank. */
  readonly configuration: number | undefined;
};

/**
 * Returns the part of this process in a run over several GPUs.
 *
 * @throws {UsageError} If a permission is missing.
 */
export function partOfProcess(): Part {
  const isGranted = (name: typeof permissions[number]) => Deno.permissions.querySync({ name }).state === "granted";
  const placement = isGranted("env") ? placementFrom(readVariable) : undefined;
  const needed = permissions.filter((name) => name !== "run" || !placement);
  const missing = needed.filter((name) => !isGranted(name));
  if (missing.length > 0) {
    throw new UsageError(`--gpus needs the permissions ${missing.map((name) => `--allow-${name}`).join(" ")}`);
  }
  if (!placement) return { kind: "starter" };
  const configuration = readVariable(configurationVariable);
  return { kind: "rank", placement, configuration: configuration === undefined ? undefined : Number(configuration) };
}

/** Prepares a rank: only rank 0 prints, and the number of ranks must be that of `--gpus`. Returns whether this rank prints. */
export function prepareRank({ rank, ranks, launcher }: Placement, gpus: readonly number[]): boolean {
  const other = gpus.find((count) => count !== ranks);
  if (other !== undefined) {
    throw new UsageError(`--gpus must be ${ranks}, the processes of ${launcher}, got "${other}"`);
  }
  if (rank > 0) muteStdout();
  return rank === 0;
}

/** Opens the GPU of a rank. One rank alone needs no NCCL. */
export async function openRank(placement: Placement, { exchange }: PlaceRequest, nccl?: string): Promise<Backend> {
  if (placement.ranks === 1) return await openCudaBackend({ device: placement.localRank });
  return await openParallel({ placement, exchange, nccl, exitWhenLost: true });
}

/** Ends the other ranks when this one has failed. */
export function failRank(backend: Backend, error: unknown): void {
  if (isParallel(backend)) backend.fail(error instanceof Error ? error.message : String(error));
}

/** Starts this command line once for each GPU. Dispose it to end the ranks that are running. */
export class RankStarter implements Disposable {
  #running: RankProcesses | undefined;

  /**
   * Runs the ranks and waits for them.
   *
   * @param configuration The number of the configuration that they run; undefined for the whole command.
   * @param onNote Called with each line that is not the error of a rank.
   */
  async run(gpus: number, configuration?: number, onNote: (line: string) => void = () => {}): Promise<RankResult> {
    const own = Deno.build.standalone ? [] : [
      ...["run", "--no-prompt", ...permissions.filter((name) => name !== "run").map((name) => `--allow-${name}`)],
      Deno.mainModule,
    ];
    this.#running = startRanks({
      ...{ ranks: gpus, command: Deno.execPath(), args: [...own, ...Deno.args] },
      env: configuration === undefined ? {} : { [configurationVariable]: `${configuration}` },
    }, (line) => line.startsWith(errorPrefix) || onNote(line));
    return await this.#running.result;
  }

  [Symbol.dispose](): void {
    this.#running?.kill();
  }
}

/** Returns the error that ended a run: the line that the ranks printed, or else which rank failed first. */
export function rankError({ failed, stderr }: Pick<RankResult, "failed" | "stderr">): Error {
  const line = stderr.find((line) => line.startsWith(errorPrefix))?.slice(errorPrefix.length);
  const error = new Error(line ?? `Rank ${failed?.rank} ended with exit code ${failed?.code}`);
  if (failed?.code === exitCode.usage) error.name = "UsageError";
  if (failed?.code === exitCode.unavailable) error.name = "BackendUnavailableError";
  return error;
}
