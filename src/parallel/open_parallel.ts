import { expectObject, expectOneOf } from "../contract/checks.ts";
import { openCudaBackend } from "../cuda/backend.ts";
import { Driver } from "../cuda/driver/driver.ts";
import { checkNames } from "../known_names.ts";
import { Nccl } from "../nccl/library.ts";
import { describeValue } from "../text.ts";
import { launcherVariables, type Placement, placementFrom, readVariable } from "../world/launcher.ts";
import { joinWorld } from "../world/world.ts";
import { RankBackend } from "./backend.ts";
import type { ExchangeMode, ParallelBackend } from "./parallel_backend.ts";
import { RankGroup } from "./rank_group.ts";

/** Options of {@linkcode openParallel}. */
export interface OpenParallelOptions {
  /**
   * The place of this process among the ranks. By default, it is read from the variables that torchrun, Open MPI, MPICH or SLURM set,
   * which needs the permission `--allow-env`.
   */
  placement?: Placement | undefined;
  /**
   * How tokens reach the experts; see {@linkcode ExchangeMode}.
   *
   * @default {"auto"}
   */
  exchange?: ExchangeMode | undefined;
  /**
   * The number of the GPU, from 0.
   *
   * @default {placement.localRank, or 0 if only one GPU is visible}
   */
  device?: number | undefined;
  /** The path of NCCL. By default, the usual places are searched. */
  nccl?: string | undefined;
  /**
   * How long to wait for the other ranks, in seconds.
   *
   * @default {60}
   */
  timeout?: number | undefined;
  /**
   * Whether the process ends with one line on standard error and exit code 1 if another rank ends. Otherwise calls throw a
   * `RankLostError`.
   *
   * @default {false}
   */
  exitWhenLost?: boolean | undefined;
  /**
   * Called on rank 0 with its port when other ranks can connect.
   *
   * @internal
   */
  onListening?: ((port: number) => void) | undefined;
  /**
   * The minimum number of rows of an expert from each rank for which rows travel during the products.
   *
   * @internal
   */
  overlapRows?: number | undefined;
  /**
   * The path of the driver's library. By default, the usual places are searched.
   *
   * @internal
   */
  library?: string | undefined;
}

const knownOptions: Readonly<Record<keyof OpenParallelOptions, true>> = {
  ...{ placement: true, exchange: true, device: true, nccl: true, timeout: true, exitWhenLost: true },
  ...{ onListening: true, overlapRows: true, library: true },
};

/**
 * Opens this process's GPU as one of several ranks that share the experts of a layer. Every rank is a process with a GPU of its own, on
 * one host or on several. The ranks exchange rows with NCCL.
 *
 * @param options The place of this process, and where the libraries are.
 * @returns The backend of this rank. Close it with `using` or its `[Symbol.dispose]()`.
 * @throws {BackendUnavailableError} If the GPU or NCCL is not available.
 * @throws {RangeError} If an option or a launcher's variable is out of range, or no launcher has started this process.
 * @throws {Error} If a rank does not arrive in time, or the ranks do not fit together.
 *
 * @example Four ranks, each with a quarter of the experts: `torchrun --nproc-per-node 4 --no-python deno run -A layer.ts`
 * ```ts ignore
 * import { openParallel, tensor } from "@yamoe/yamoe";
 *
 * using parallel = await openParallel();
 * const { start, end } = parallel.share(32); // the experts of this rank
 * const weights = loadExperts(start, end);
 * using output = await parallel.experts({ ...tokensOfThisRank(), ...weights }, { totalExperts: 32 });
 * ```
 */
export async function openParallel(options: OpenParallelOptions = {}): Promise<ParallelBackend> {
  return await openRankBackend(options, RankBackend);
}

/** Opens a rank as a backend of a class: see {@linkcode openParallel}. */
export async function openRankBackend<Type extends RankBackend>(
  options: OpenParallelOptions,
  BackendClass: new (group: RankGroup, mode: ExchangeMode, owned: DisposableStack) => Type,
): Promise<Type> {
  expectObject("options", options);
  checkNames("options", options, Object.keys(knownOptions));
  const { exchange = "auto", timeout = 60, exitWhenLost = false, onListening, library } = options;
  expectOneOf("exchange", exchange, ["auto", "assignments", "tokens"]);
  if (!(typeof timeout === "number" && timeout > 0)) {
    throw new RangeError(`timeout must be a number of seconds above 0, got ${describeValue(timeout)}`);
  }
  const placement = options.placement ?? placementFrom(readVariable);
  if (!placement) {
    throw new RangeError(
      "Cannot open a rank: no launcher has set RANK and WORLD_SIZE; start the ranks with torchrun, mpirun or srun, " +
        `and allow reading their variables with --allow-env=${launcherVariables.slice(0, 3).join(",")},...`,
    );
  }
  using owned = new DisposableStack();
  const nccl = new Nccl(options.nccl);
  const inner = owned.use(await openCudaBackend({ device: options.device ?? deviceOf(placement, library), library }));
  const world = owned.use(
    await joinWorld({
      ...{ placement, nccl: { version: nccl.version, path: nccl.path, createId: () => nccl.createId() } },
      ...{ gpu: inner.properties.uuid, host: hostName(), timeout: 1000 * timeout, exitWhenLost, onListening },
    }),
  );
  const group = owned.use(new RankGroup(inner, world, nccl, options));
  return new BackendClass(group, exchange, owned.move());
}

/** A launcher may show each rank only its own GPU, whose number is then 0. */
function deviceOf({ localRank }: Placement, library: string | undefined): number {
  return new Driver(library).deviceCount === 1 ? 0 : localRank;
}

function hostName(): string {
  return Deno.permissions.querySync({ name: "sys", kind: "hostname" }).state === "granted"
    ? Deno.hostname()
    : "this host";
}
