// How much faster each point is than the baseline.
import { identity } from "../../bench/configuration.ts";
import { jobKeys } from "../../bench/figures.ts";
import { type Dataset, type Point, storageKeys } from "./dataset.ts";

/** The factor by which a point is faster; null if the baseline did not run its job. */
export type Improvement = (point: Point) => number | null;

/** Factors, and what the baseline is. */
export interface Improvements {
  readonly label: string;
  readonly factor: Improvement;
}

/** What can differ between two implementations of a job, with the most important first. */
const implementationKeys = ["source", "backend", "device", "weights"] as const;

/** The figures that make a job, however its weights are stored. */
const sameJobKeys = jobKeys.filter((key) => !storageKeys.includes(key));

/**
 * Computes the improvement of every point. If there are several files, backends, devices or formats of the weights, the
 * baseline is the first of them with the same job. Otherwise it is the rate of tokens at the first place of the axis.
 */
export function improvements({ axis, panels, points }: Dataset): Improvements {
  const [baseline] = points;
  const differing = implementationKeys.filter((key) => points.some((point) => point[key] !== baseline?.[key]));
  if (!baseline || differing.length === 0) {
    const first = new Map(
      panels.flatMap(({ series }) =>
        series.flatMap(({ points }) => points.map((point) => [point, points[0]] as const))
      ),
    );
    return {
      label: `Tokens per second, relative to the smallest ${axis.label.toLowerCase()}`,
      factor: (point) => ratio(point.tokensPerSecond, first.get(point)?.tokensPerSecond),
    };
  }
  const isBaseline = (point: Point) => implementationKeys.every((key) => point[key] === baseline[key]);
  const base = new Map(points.filter(isBaseline).map((point) => [identity(point, sameJobKeys), point]));
  return {
    label: `Times faster than ${differing.map((key) => baseline[key]).join(", ")}`,
    factor: (point) => ratio(base.get(identity(point, sameJobKeys))?.kernelTimeMs, point.kernelTimeMs),
  };
}

function ratio(value: number | null | undefined, base: number | null | undefined): number | null {
  return value && base ? value / base : null;
}
