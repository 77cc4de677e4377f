// How much better each point is than what it is measured by.
import type { Dataset, Point, Series } from "./dataset.ts";

/** A point and its factor. */
export interface Improvement {
  readonly point: Point;
  readonly series: string;
  readonly factor: number;
}

/** Factors, and what they are factors of. */
export interface Improvements {
  readonly label: string;
  readonly points: readonly Improvement[];
}

/**
 * Where the series are of several files, backends or devices, how many times faster each is than the first of them on the
 * same job. Else how much more a second of tokens there are than at the axis's first place.
 */
export function improvements({ axis, series, points }: Dataset): Improvements {
  const implementation = ({ source, backend, device }: Point) => `${source}|${backend}|${device}`;
  const baseline = points[0] && implementation(points[0]);
  if (points.every((point) => implementation(point) === baseline)) {
    return {
      label: `Tokens a second, relative to the smallest ${axis.label.toLowerCase()}`,
      points: perPoint(series, (point, { points: [first] }) => point.tokensPerSecond! / first!.tokensPerSecond!),
    };
  }
  const job = (point: Point) =>
    [point.preset, point.batch, point.seq, point.hidden, point.intermediate, point.experts, point.topK, point.dtype]
      .join();
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
