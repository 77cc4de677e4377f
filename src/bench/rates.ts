// Rates: how fast a run was, by itself and compared with the peaks of the device.
import type { Backend, PeakRates } from "../backend/backend.ts";
import type { BenchResult } from "./figures.ts";

/** What one call computes and moves. */
export interface Work {
  readonly tokens: number;
  readonly flops: number;
  readonly bytes: number;
}

type Rates = Pick<BenchResult, "tflops" | "gigabytesPerSecond" | "tokensPerSecond" | "intensity">;

type Shares = Pick<
  BenchResult,
  "peakTflops" | "peakGigabytesPerSecond" | "peakSource" | "percentOfPeak" | "boundBy"
>;

/** Computes the rates of a call that takes so many milliseconds. */
export function rates({ tokens, flops, bytes }: Work, milliseconds: number): Rates {
  return {
    tflops: flops / milliseconds / 1e9,
    gigabytesPerSecond: bytes / milliseconds / 1e6,
    tokensPerSecond: tokens / milliseconds * 1000,
    intensity: flops / bytes,
  };
}

/**
 * Compares rates with the peaks of the device. A share above 100 % means that the peak is wrong, for example because it was
 * measured while the machine was busy: then the share is unknown.
 */
export function shares({ tflops, gigabytesPerSecond }: Rates, peak: PeakRates | undefined): Shares {
  const compute = peak && 100 * tflops / peak.teraflops;
  const memory = peak && 100 * gigabytesPerSecond / peak.gigabytesPerSecond;
  const known = compute !== undefined && memory !== undefined && compute <= 100 && memory <= 100;
  return {
    peakTflops: peak?.teraflops ?? null,
    peakGigabytesPerSecond: peak?.gigabytesPerSecond ?? null,
    peakSource: peak?.source ?? null,
    percentOfPeak: known ? Math.max(compute, memory) : null,
    boundBy: known ? (compute >= memory ? "compute" : "memory") : null,
  };
}

/** How often a peak is asked for if the first one is below what a call has reached. */
const attempts = 3;

/** Returns the shares of the device's peaks, which are asked for again while a share is above 100 %. */
export async function measuredShares(backend: Backend, dtype: BenchResult["dtype"], reached: Rates): Promise<Shares> {
  let found = shares(reached, undefined);
  for (let attempt = 0; attempt < attempts; attempt++) {
    found = shares(reached, await backend.peakRates(dtype as Parameters<Backend["peakRates"]>[0]));
    if (found.percentOfPeak !== null || found.peakTflops === null) break;
  }
  return found;
}
