// The figures of the charts along the number of GPUs.
import { identity } from "../../bench/configuration.ts";
import { configurationKeys } from "../../bench/figures.ts";
import { measuredRates } from "../../parallel/predict.ts";
import { digits } from "../columns.ts";
import type { Dataset, Panel, Point } from "./dataset.ts";

/** The rate of the link between the GPUs of a host, for people. */
export const linkRate = `${digits(measuredRates.hostBytes / 1e9)} GB/s`;

/** What a call has in common on any number of GPUs. */
const commonKeys = configurationKeys.filter((key) => !["gpus", "exchange", "device"].includes(key));

/** Returns whether a panel has a call over several GPUs. */
export function alongGpus({ series }: Panel): true | undefined {
  return series.some(({ points }) => points.some(({ gpus }) => (gpus ?? 1) > 1)) || undefined;
}

/** Returns the time in milliseconds of the rows that a GPU receives, at the rate of the link; null on one GPU. */
export function linkFloor({ exchangeBytes }: Point): number | null {
  return exchangeBytes === null ? null : 1000 * exchangeBytes / measuredRates.hostBytes;
}

/** Returns a function that gives the time of one GPU over that of a point, in percent; null if the former is unknown. */
export function efficiencyIn({ points }: Dataset): (point: Point) => number | null {
  const single = new Map(
    points.filter(({ gpus }) => gpus === 1).map((point) => [identity(point, commonKeys), point.kernelTimeMs]),
  );
  return (point) => {
    const alone = single.get(identity(point, commonKeys));
    return point.gpus === null || alone === undefined ? null : 100 * alone / point.kernelTimeMs;
  };
}
