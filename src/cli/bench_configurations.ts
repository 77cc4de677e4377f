// The configurations that a command line of `yamoe bench` asks for.
import { type Configuration, crossProduct } from "../bench/sweep.ts";
import { axes, axis, type FlagValues } from "./flags.ts";
import { backendFlags, checkJob, jobFlags, presetFlag, requestedJob } from "./job_flags.ts";
import { UsageError } from "./usage_error.ts";

/** Flags whose values are combined. */
export const sweptFlags = { preset: axis(presetFlag("reference")), ...axes(jobFlags), ...axes(backendFlags) };

/** The maximum number of configurations. */
const maxConfigurations = 100_000;

/** One value of each of the flags that were given. */
type Point = { [Name in keyof typeof sweptFlags]?: ReturnType<typeof sweptFlags[Name]["parse"]> };

/** Returns every combination of the values that the flags list, at least one. */
export function configurations(values: FlagValues<typeof sweptFlags>): [Configuration, ...Configuration[]] {
  const swept = Object.entries(values).filter(([name]) => name in sweptFlags) as [string, unknown[]][];
  const count = swept.reduce((product, [, { length }]) => product * length, 1);
  if (count > maxConfigurations) {
    throw new UsageError(`A sweep must have at most ${maxConfigurations} configurations, the flags make ${count}`);
  }
  const points: Point[] = crossProduct(Object.fromEntries(swept));
  const combinations = points.map(({ backend = "auto", device, threads, blas, preset = "reference", ...sizes }) => ({
    place: { backend, device, threads, blas },
    job: requestedJob(preset, sizes),
  }));
  const [first, ...others] = combinations;
  if (!first) throw new RangeError("A sweep must have at least one configuration");
  if (others.length === 0) checkJob(first.job); // a single configuration that cannot run is a wrong command line
  return [checked(first), ...others.map(checked)];
}

function checked(combination: Pick<Configuration, "job" | "place">): Configuration {
  try {
    checkJob(combination.job);
    return { ...combination, problem: null };
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return { ...combination, problem: error.message };
  }
}
