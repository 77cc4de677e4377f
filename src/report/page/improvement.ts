// How much faster each point is than the baseline.
import { identity } from "../../bench/configuration.ts";
import { jobKeys } from "../../bench/figures.ts";
import type { Dataset, Point, Series } from "./dataset.ts";

/** A point and the factor by which it is faster. */
export interface Improvement {
  readonly point: Point;
  readonly series: string;
  readonly factor: number;
}

/** Factors, and what the baseline is. */
export interface Improvements {
  readonly label: string;
  readonly points: readonly Improvement[];
}

/**
 * Computes the improvement of every point. If there are several files, backends or devices, the baseline is the first of
 * them with the same job. Otherwise it is the rate of tokens at the first place of the axis.
 */
export function improvements({ axis, series, points }: Dataset): Improvements {
  const implementation = ({ source, backend, device }: Point) => `${source}|${backend}|${device}`;
  const baseline = points[0] && implementation(points[0]);
  if (points.every((point) => implementation(point) === baseline)) {
    return {
      label: `Tokens per second, relative to the smallest ${axis.label.toLowerCase()}`,
      points: perPoint(series, (point, { points: [first] }) => point.tokensPerSecond! / first!.tokensPerSecond!),
    };
  }
  const job = (point: Point) => identity(point, jobKeys);
  const base = new Map(
    points.filter((point) => implementation(point) === baseline).map((point) => [job(point), point]),
  );
  return {
    label: `Times faster than ${
      points.some(({ source }) => source !== points[0]!.source) ? points[0]!.source : points[0]!.backend
    }`,
    points: perPoint(series, (point) => (base.get(job(point))?.kernelTimeMs ?? NaN) / point.kernelTimeMs),
  };
}

function perPoint(series: readonly Series[], factor: (point: Point, series: Series) => number): Improvement[] {
  return series.flatMap((one) => one.points.map((point) => ({ point, series: one.name, factor: factor(point, one) })))
    .filter(({ factor }) => Number.isFinite(factor));
}
