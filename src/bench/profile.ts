// The time of each kernel of a call, beside what limits it.
import type { Backend, KernelTime, PeakRates } from "../backend/backend.ts";
import { BackendUnavailableError } from "../backend/unavailable_error.ts";
import { median } from "../statistics.ts";
import type { ProfiledKernel } from "./figure.ts";

const warmup = 3, runs = 15;

/**
 * Checks that a backend can measure kernels.
 *
 * @throws {BackendUnavailableError} If it cannot.
 */
export function expectProfile(backend: Backend): void {
  if (backend.profile) return;
  throw new BackendUnavailableError(`Cannot profile on the ${backend.name} backend: only a GPU measures its kernels`);
}

/**
 * Measures a call kernel by kernel, several times.
 *
 * @param peak The peak rates of the device, if they are known.
 * @param active The number of experts that have work.
 * @returns The kernels in the order of their launches, with medians.
 */
export async function profileCall(
  backend: Backend,
  run: () => Promise<unknown>,
  peak: PeakRates | undefined,
  active: number,
): Promise<ProfiledKernel[]> {
  expectProfile(backend);
  const passes: KernelTime[][] = [];
  for (let i = 0; i < warmup + runs; i++) passes.push(await backend.profile?.(run) ?? []);
  const timed = passes.slice(warmup);
  return (timed[0] ?? []).map((time, i) => {
    const { kernel, flops } = time, bytes = movedBytes(time, active);
    return {
      kernel,
      milliseconds: median(timed.flatMap((pass) => pass[i]?.milliseconds ?? [])),
      floorMs: flops === null || bytes === null || !peak ? null : floorOf(flops, bytes, peak),
      flops: flops ?? 0,
      bytes: bytes ?? 0,
    };
  });
}

/** Returns the bytes of a kernel without the weights of experts that have no work, which are not read. */
function movedBytes({ bytes, experts }: KernelTime, active: number): number | null {
  if (bytes === null || !experts) return bytes;
  return bytes - Math.max(0, experts.count - active) * experts.bytes;
}

/** The time in milliseconds that operations or bytes need at the peak rates, whichever is longer. */
function floorOf(flops: number, bytes: number, { teraflops, gigabytesPerSecond }: PeakRates): number {
  return Math.max(flops / teraflops / 1e9, bytes / gigabytesPerSecond / 1e6);
}
