/**
 * The NVIDIA Management Library: clocks, power and temperature of a GPU. It is optional. Nothing here asks for a permission.
 *
 * @module
 */
import { symbols } from "./symbols.ts";

/** What the library reports of a GPU at one moment. A value that the GPU does not report is null. */
export interface GpuState {
  /** The clock of the multiprocessors, in MHz. */
  readonly clockMhz: number | null;
  /** The clock of the memory, in MHz. */
  readonly memoryClockMhz: number | null;
  readonly powerWatts: number | null;
  readonly temperatureCelsius: number | null;
  /** The energy that the GPU has used since the driver was loaded, in joules. */
  readonly energyJoules: number | null;
  /** Why the clocks are lowered. */
  readonly throttleReasons: readonly string[];
}

/** A GPU that the library knows. */
export interface ManagedGpu {
  /** Reads the state of the GPU now. */
  read(): GpuState;
}

type Library = Deno.DynamicLibrary<typeof symbols>["symbols"];

/** nvmlClockType_t. */
const clockType = { sm: 1, memory: 2 } as const;

/** NVML_TEMPERATURE_GPU. */
const gpuSensor = 0;

/** The bits of nvmlClocksThrottleReason… that mean a slowdown. The others are idle clocks or settings of the user. */
const slowdowns: readonly (readonly [bit: bigint, name: string])[] = [
  [0x4n, "power limit"],
  [0x8n, "hardware slowdown"],
  [0x20n, "temperature"],
  [0x40n, "hardware temperature limit"],
  [0x80n, "power brake"],
];

/** Returns the usual places of the library. */
export function libraryPaths(): readonly string[] {
  if (Deno.build.os === "windows") return ["nvml.dll"];
  if (Deno.build.os !== "linux") return [];
  return [
    "libnvidia-ml.so.1",
    `/usr/lib/${Deno.build.arch}-linux-gnu/libnvidia-ml.so.1`,
    "/usr/lib64/libnvidia-ml.so.1",
    "/usr/lib/wsl/lib/libnvidia-ml.so.1",
    "/usr/local/nvidia/lib64/libnvidia-ml.so.1",
    "/run/opengl-driver/lib/libnvidia-ml.so.1", // NixOS
  ];
}

/** The open library; null if it cannot be used. Like the driver's library, it is never closed. */
let library: Library | null | undefined;

/**
 * Finds a GPU.
 *
 * @param uuid The UUID of the GPU, such as `GPU-12345678-…`.
 * @param paths The places of the library.
 * @returns The GPU, or undefined if the library is missing, is not permitted, or does not know the GPU.
 */
export function managedGpu(uuid: string, paths: readonly string[] = libraryPaths()): ManagedGpu | undefined {
  if (library === undefined) library = openLibrary(paths) ?? null;
  if (library === null) return undefined;
  const nvml = library;
  const handle = new BigUint64Array(1);
  if (nvml.nvmlDeviceGetHandleByUUID(new TextEncoder().encode(`${uuid}\0`), bytes(handle)) !== 0) return undefined;
  const [device = 0n] = handle;
  const u32 = new Uint32Array(1), u64 = new BigUint64Array(1);
  const number = (status: number, scale = 1) => status === 0 ? (u32[0] ?? 0) * scale : null;
  return {
    read: () => ({
      clockMhz: number(nvml.nvmlDeviceGetClockInfo(device, clockType.sm, bytes(u32))),
      memoryClockMhz: number(nvml.nvmlDeviceGetClockInfo(device, clockType.memory, bytes(u32))),
      powerWatts: number(nvml.nvmlDeviceGetPowerUsage(device, bytes(u32)), 1e-3),
      temperatureCelsius: number(nvml.nvmlDeviceGetTemperature(device, gpuSensor, bytes(u32))),
      energyJoules: nvml.nvmlDeviceGetTotalEnergyConsumption(device, bytes(u64)) === 0 ? Number(u64[0]) * 1e-3 : null,
      throttleReasons: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(device, bytes(u64)) === 0
        ? slowdowns.filter(([bit]) => ((u64[0] ?? 0n) & bit) !== 0n).map(([, name]) => name)
        : [],
    }),
  };
}

function openLibrary(paths: readonly string[]): Library | undefined {
  for (const path of paths) {
    if (Deno.permissions.querySync({ name: "ffi", path }).state !== "granted") continue;
    try {
      const found = Deno.dlopen(path, symbols).symbols;
      if (found.nvmlInit_v2() === 0) return found;
    } catch (error) {
      if (!(error instanceof Error)) throw error; // it is missing, or too old
    }
  }
  return undefined;
}

function bytes(values: Uint32Array<ArrayBuffer> | BigUint64Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(values.buffer);
}
