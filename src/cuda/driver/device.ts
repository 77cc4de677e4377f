// The properties that the driver reports about a device.
import type { Driver } from "./driver.ts";

/** A device's properties. */
export interface DeviceProperties {
  readonly ordinal: number;
  readonly name: string;
  readonly uuid: string;
  /** 10 · major + minor: 90 for sm_90. */
  readonly computeCapability: number;
  readonly memoryBytes: number;
  readonly multiprocessors: number;
  readonly clockMhz: number;
  readonly memoryClockMhz: number;
  readonly memoryBusBits: number;
  readonly l2Bytes: number;
  /** Shared memory per multiprocessor. */
  readonly sharedBytes: number;
  /** The maximum shared memory per block. */
  readonly sharedBytesPerBlock: number;
}

/** CUdevice_attribute. */
const attribute = {
  clockRate: 13,
  multiprocessorCount: 16,
  memoryClockRate: 36,
  globalMemoryBusWidth: 37,
  l2CacheSize: 38,
  computeCapabilityMajor: 75,
  computeCapabilityMinor: 76,
  maxSharedMemoryPerMultiprocessor: 81,
  maxSharedMemoryPerBlockOptin: 97,
} as const;

/** Reads a device's properties. */
export function deviceProperties(driver: Driver, ordinal: number): DeviceProperties {
  const device = driver.number("cuDeviceGet", ordinal);
  const get = (name: keyof typeof attribute) => driver.number("cuDeviceGetAttribute", attribute[name], device);
  const name = new Uint8Array(256);
  driver.call("cuDeviceGetName", name, name.length, device);
  const uuid = new Uint8Array(16);
  driver.call("cuDeviceGetUuid_v2", uuid, device);
  return {
    ordinal,
    name: new TextDecoder().decode(name.subarray(0, name.indexOf(0))),
    uuid: `GPU-${uuid.toHex().replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-")}`,
    computeCapability: 10 * get("computeCapabilityMajor") + get("computeCapabilityMinor"),
    memoryBytes: Number(driver.handle("cuDeviceTotalMem_v2", device)),
    multiprocessors: get("multiprocessorCount"),
    clockMhz: get("clockRate") / 1000,
    memoryClockMhz: get("memoryClockRate") / 1000,
    memoryBusBits: get("globalMemoryBusWidth"),
    l2Bytes: get("l2CacheSize"),
    sharedBytes: get("maxSharedMemoryPerMultiprocessor"),
    sharedBytesPerBlock: get("maxSharedMemoryPerBlockOptin"),
  };
}
