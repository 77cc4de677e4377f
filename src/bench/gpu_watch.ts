// The clocks, the power and the temperature of a GPU while a job is measured.
import { type GpuState, type ManagedGpu, managedGpu } from "../nvml/nvml.ts";
import type { BenchResult } from "./figures.ts";
import { median } from "../statistics.ts";

/** The figures of a GPU during the timed calls. */
export type GpuFigures = Pick<
  BenchResult,
  "runClockMhz" | "runMemoryClockMhz" | "powerWatts" | "temperatureCelsius" | "energyPerCallJoules" | "throttleReasons"
>;

/** Reads the state of a GPU between calls. */
export interface GpuWatch {
  /** Reads the state, unless the last time was a moment ago. Call it between timed calls. */
  sample(): void;
  /** Returns the figures of the calls since the start. */
  figures(calls: number): GpuFigures;
}

/** The shortest time between two samples, in milliseconds. Reading takes a part of a millisecond. */
const interval = 20;

/** The figures where the library is not available. */
const unknown: GpuFigures = {
  ...{ runClockMhz: null, runMemoryClockMhz: null, powerWatts: null, temperatureCelsius: null },
  ...{ energyPerCallJoules: null, throttleReasons: [] },
};

/**
 * Starts to watch a GPU. Without the management library, or without the permission to open it, the figures are null.
 *
 * @param uuid The UUID of the GPU; null for a CPU.
 */
export function watchGpu(
  uuid: string | null,
  gpu: ManagedGpu | undefined = uuid === null ? undefined : managedGpu(uuid),
): GpuWatch {
  if (!gpu) return { sample: () => {}, figures: () => unknown };
  const first = gpu.read();
  const states: GpuState[] = [];
  let next = -Infinity;
  return {
    sample() {
      if (performance.now() < next) return;
      states.push(gpu.read());
      next = performance.now() + interval;
    },
    figures(calls) {
      const last = gpu.read();
      const seen = states.length > 0 ? states : [last];
      const typical = (key: "clockMhz" | "memoryClockMhz" | "powerWatts") => {
        const values = seen.map((state) => state[key]).filter((value) => value !== null);
        return values.length > 0 ? median(values) : null;
      };
      const temperatures = seen.map(({ temperatureCelsius }) => temperatureCelsius).filter((value) => value !== null);
      const energy = first.energyJoules === null || last.energyJoules === null
        ? null
        : last.energyJoules - first.energyJoules;
      return {
        runClockMhz: typical("clockMhz"),
        runMemoryClockMhz: typical("memoryClockMhz"),
        powerWatts: typical("powerWatts"),
        temperatureCelsius: temperatures.length > 0 ? Math.max(...temperatures) : null,
        energyPerCallJoules: energy === null || calls === 0 ? null : energy / calls,
        throttleReasons: [...new Set(seen.flatMap(({ throttleReasons }) => throttleReasons))],
      };
    },
  };
}
