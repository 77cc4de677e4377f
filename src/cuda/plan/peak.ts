// The most a GPU can do, from what the driver tells of it.
import type { PeakRates } from "../../backend/backend.ts";
import type { DType } from "../../tensor/tensor.ts";
import type { DeviceProperties } from "../driver/device.ts";

/**
 * Dense 16-bit products with f32 sums, in floating-point operations a clock of one multiprocessor; the second number holds
 * for GeForce cards, whose tensor cores sum in f32 at half the rate. Source: the rates and boost clocks in NVIDIA's
 * architecture white papers, which `gpus.ts` states for single devices.
 */
const flopsPerClock: Readonly<Record<number, readonly [number, number]>> = {
  75: [1024, 512],
  80: [2048, 2048],
  86: [1024, 512],
  89: [1024, 512],
  90: [4096, 4096],
  100: [8192, 8192],
  103: [8192, 8192],
  120: [1024, 512],
};

/** A device's peak in a dtype at its highest clocks; undefined where its architecture or that dtype's rate is not known. */
export function devicePeak(device: DeviceProperties, dtype: DType): PeakRates | undefined {
  const rates = flopsPerClock[device.computeCapability];
  if (!rates || (dtype !== "f16" && dtype !== "bf16") || device.memoryClockMhz === 0) return undefined;
  const perClock = rates[/GeForce/.test(device.name) ? 1 : 0];
  return {
    teraflops: perClock * device.multiprocessors * device.clockMhz / 1e6,
    gigabytesPerSecond: 2 * device.memoryClockMhz * device.memoryBusBits / 8 / 1000, // two transfers a clock
    source: "device",
  };
}
