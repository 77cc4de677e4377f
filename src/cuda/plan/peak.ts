// A GPU's peak rates, computed from the properties that the driver reports.
import type { PeakRates } from "../../backend/backend.ts";
import type { DType } from "../../tensor/tensor.ts";
import type { DeviceProperties } from "../driver/device.ts";

/**
 * Floating-point operations per clock and multiprocessor of dense 16-bit products with f32 sums. The second number is for
 * GeForce cards, whose tensor cores sum in f32 at half the rate. Source: the rates and boost clocks in NVIDIA's architecture
 * white papers; `gpus.ts` has the rates of single devices.
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

/** A device's peak rates in a dtype at its highest clocks, or undefined if they are not known for its architecture and dtype. */
export function devicePeak(device: DeviceProperties, dtype: DType): PeakRates | undefined {
  const rates = flopsPerClock[device.computeCapability];
  if (!rates || (dtype !== "f16" && dtype !== "bf16") || device.memoryClockMhz === 0) return undefined;
  const perClock = rates[/GeForce/.test(device.name) ? 1 : 0];
  return {
    teraflops: perClock * device.multiprocessors * device.clockMhz / 1e6,
    gigabytesPerSecond: 2 * device.memoryClockMhz * device.memoryBusBits / 8 / 1000, // two transfers per clock
    source: "device",
  };
}
