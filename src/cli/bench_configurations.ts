// The configurations that a command line of `yamoe bench` asks for.
import { type Configuration, crossProduct, type PlaceRequest } from "../bench/sweep.ts";
import type { Preset } from "../models/preset.ts";
import { presets } from "../models/presets.ts";
import { type CheckpointPreset, checkpointPreset } from "../workload/checkpoint_preset.ts";
import { Checkpoint } from "../models/checkpoint/checkpoint.ts";
import { areDrawn, drawnFormats } from "../workload/drawn_weights.ts";
import { hiddenShape } from "../workload/hidden_file.ts";
import { axes, axis, type FlagValues } from "./flags.ts";
import { backendFlags, checkJob, jobFlags, presetFlag, requestedJob } from "./job_flags.ts";
import { layerChanges, layerFlags } from "./layer_flags.ts";
import { checkNotRead } from "./replaced_input.ts";
import { gpusFlags } from "./several_gpus.ts";
import { suggestion } from "./suggestion.ts";
import { UsageError } from "./usage_error.ts";

/** Flags whose values are combined. */
export const sweptFlags = {
  ...axes(gpusFlags), // first: it varies slowest
  preset: axis(presetFlag("reference")),
  ...axes({ ...jobFlags, ...layerFlags }),
  ...axes(backendFlags),
};

/** The maximum number of configurations. */
const maxConfigurations = 100_000;

/** One value of each of the flags that were given. */
type Point = { [Name in keyof typeof sweptFlags]?: ReturnType<typeof sweptFlags[Name]["parse"]> };

/** What the files of a point say. */
interface Files {
  readonly checkpoint: CheckpointPreset | undefined;
  /** The shape of the hidden states. */
  readonly hidden: readonly number[] | undefined;
}

/** The flags that a checkpoint's layer decides. */
const checkpointKeys = ["preset", "hidden", "intermediate", "experts"] as const;

/** Returns every combination of the values that the flags list, at least one. */
export async function configurations(
  values: FlagValues<typeof sweptFlags>,
): Promise<[Configuration, ...Configuration[]]> {
  const swept = Object.entries(values).filter(([name]) => name in sweptFlags) as [string, unknown[]][];
  const count = swept.reduce((product, [, { length }]) => product * length, 1);
  if (count > maxConfigurations) {
    throw new UsageError(`A sweep must have at most ${maxConfigurations} configurations, the flags make ${count}`);
  }
  const points: Point[] = crossProduct(Object.fromEntries(swept));
  const files = new FileCache();
  const combinations: Pick<Configuration, "job" | "place">[] = [];
  for (const point of points) {
    combinations.push({ place: placeOf(point), job: jobOf(point, await files.of(point)) });
  }
  const [first, ...others] = combinations;
  if (!first) throw new RangeError("A sweep must have at least one configuration");
  if (others.length === 0) check(first); // a single configuration that cannot run is a wrong command line
  return [checked(first), ...others.map(checked)];
}

/**
 * Checks that an output is not a file that a configuration reads.
 *
 * @throws {UsageError} If it is one.
 */
export async function checkOutput(output: string | undefined, plan: readonly Configuration[]): Promise<void> {
  if (output === undefined) return;
  const files = new Set(plan.flatMap(({ job }) => job.hiddenFile ?? []));
  for (const path of new Set(plan.map(({ job }) => job.weights))) {
    if (areDrawn(path)) continue;
    using checkpoint = await Checkpoint.open(path);
    for (const file of checkpoint.files) files.add(file);
  }
  await checkNotRead(output, [...files]);
}

function placeOf({ gpus, exchange, backend = "auto", device, threads, blas, ep }: Point): PlaceRequest {
  if (gpus === undefined) {
    if (exchange !== undefined) throw new UsageError("--exchange is for --gpus N");
    return { backend, device, threads, blas };
  }
  for (const [name, given] of Object.entries({ backend: backend === "cpu" ? backend : undefined, device, ep })) {
    if (given !== undefined) throw new UsageError(`--gpus N cannot be given together with --${name} ${given}`);
  }
  return { backend: "cuda", threads, gpus, exchange: gpus > 1 ? exchange : undefined };
}

function jobOf(point: Point, { checkpoint, hidden }: Files): Configuration["job"] {
  const { preset = "reference", op, weights, skew, ep, hidden: size, activation, router, layer, ...sizes } = point;
  const isFile = typeof size === "string";
  if (isFile) {
    for (const name of ["tokens", "batch", "seq"] as const) {
      if (sizes[name] !== undefined) {
        throw new UsageError(`--hidden FILE decides the tokens, so --${name} cannot be given`);
      }
    }
  }
  if (checkpoint) {
    for (const name of checkpointKeys) {
      if (point[name] === undefined || (name === "hidden" && isFile)) continue;
      throw new UsageError(`--weights DIR decides the layer, so --${name} cannot be given as well`);
    }
  } else if (layer !== undefined) throw new UsageError("--layer is for --weights DIR");
  const base: Preset = checkpoint ?? presets[preset];
  const width = hidden?.at(-1);
  if (checkpoint && width !== undefined && width !== base.hidden) {
    throw new UsageError(`--hidden FILE must have ${base.hidden} columns, the layer's hidden size, got ${width}`);
  }
  const { layer: number = null, ...described } = checkpoint ?? { ...base, layer: null };
  return requestedJob(checkpoint ? "checkpoint" : preset, described, {
    ...sizes,
    ...hidden && { tokens: hidden.slice(0, -1).reduce((product, size) => product * size, 1) },
  }, {
    hidden: isFile ? width : size,
    ...{ op, weights, skew, ep, layer: number, hiddenFile: isFile ? size : null },
    ...!checkpoint && layerChanges(described, { activation, router }),
  });
}

/** What the flags that take paths also take. */
const weightsPath = {
  flag: "weights",
  expected: `one of ${drawnFormats.join(", ")}, or the path of a checkpoint`,
  words: drawnFormats,
};
const hiddenPath = { flag: "hidden", expected: "a size, or the path of a safetensors file" };

/** Describes each file once. */
class FileCache {
  readonly #checkpoints = new Map<string, Promise<CheckpointPreset>>();
  readonly #hidden = new Map<string, Promise<readonly number[]>>();

  async of({ weights, layer, hidden, "top-k": topK, router, activation }: Point): Promise<Files> {
    const choice = { layer, topK, router, activation };
    const key = JSON.stringify([weights, choice]);
    if (weights !== undefined && !areDrawn(weights) && !this.#checkpoints.has(key)) {
      this.#checkpoints.set(key, existing(weightsPath, weights, checkpointPreset(weights, choice)));
    }
    if (typeof hidden === "string" && !this.#hidden.has(hidden)) {
      this.#hidden.set(hidden, existing(hiddenPath, hidden, hiddenShape(hidden)));
    }
    const [checkpoint, shape] = await Promise.all([ // together, so that no rejection stays unhandled
      this.#checkpoints.get(key),
      typeof hidden === "string" ? this.#hidden.get(hidden) : undefined,
    ]);
    return { checkpoint, hidden: shape };
  }
}

/** Returns what was read from a path. Reports what the flag takes if the path does not exist. */
async function existing<Value>(
  { flag, expected, words = [] }: {
    readonly flag: string;
    readonly expected: string;
    readonly words?: readonly string[];
  },
  path: string,
  read: Promise<Value>,
): Promise<Value> {
  try {
    return await read;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound) || await exists(path)) throw error;
    const end = `got "${path}", which does not exist${suggestion(path, words)}`;
    throw new UsageError(`--${flag} must be ${expected}, ${end}`);
  }
}

function exists(path: string): Promise<boolean> {
  return Deno.stat(path).then(() => true, () => false);
}

/**
 * Checks that a configuration can run.
 *
 * @throws {UsageError} If a flag is out of range.
 */
function check({ job, place: { gpus = 1 } }: Pick<Configuration, "job" | "place">): void {
  if (gpus > job.experts) {
    throw new UsageError(`--gpus must be at most the number of experts, ${job.experts}, got "${gpus}"`);
  }
  checkJob(job);
}

function checked(combination: Pick<Configuration, "job" | "place">): Configuration {
  try {
    check(combination);
    return { ...combination, problem: null };
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return { ...combination, problem: error.message };
  }
}
