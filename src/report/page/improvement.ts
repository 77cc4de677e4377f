// How much faster each point is than the baseline.
import { identity } from "../../bench/configuration.ts";
import { jobKeys } from "../../bench/figures.ts";
import type { Dataset, Point } from "./dataset.ts";

/** The factor by which a point is faster; null if the baseline did not run its job. */
export type Improvement = (point: Point) => number | null;

/** Factors, and what the baseline is. */
export interface Improvements {
  readonly label: string;
  readonly factor: Improvement;
}

/**
 * Computes the improvement of every point. If there are several files, backends or devices, the baseline is the first of
 * them with the same job. Otherwise it is the rate of tokens at the first place of the axis.
 */
export function improvements({ axis, panels, points }: Dataset): Improvements {
  const implementation = ({ source, backend, device }: Point) => JSON.stringify([source, backend, device]);
  const [baseline] = points;
  if (!baseline || points.every((point) => implementation(point) === implementation(baseline))) {
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
  const base = new Map(
    points.filter((point) => implementation(point) === implementation(baseline))
      .map((point) => [identity(point, jobKeys), point]),
  );
  const several = points.some(({ source }) => source !== baseline.source);
  return {
    label: `Times faster than ${several ? baseline.source : baseline.backend}`,
    factor: (point) => ratio(base.get(identity(point, jobKeys))?.kernelTimeMs, point.kernelTimeMs),
  };
}

function ratio(value: number | null | undefined, base: number | null | undefined): number | null {
  return value && base ? value / base : null;
}
