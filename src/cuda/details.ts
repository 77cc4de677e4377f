import type { BackendDetails } from "../backend/backend.ts";
import type { DeviceProperties } from "./driver/device.ts";
import { formatVersion } from "./driver/driver.ts";
import { manifest } from "./images/built/manifest.ts";

/** Describes a GPU, its driver and the kernels that run on it. */
export function cudaDetails(properties: DeviceProperties, imageName: string, driverVersion: number): BackendDetails {
  const { uuid, multiprocessors, clockMhz, memoryClockMhz, memoryBytes } = properties;
  return {
    driver: `CUDA ${formatVersion(driverVersion)}`,
    cubin: imageName,
    cubinSha256: manifest.images[imageName]!.sha256,
    deviceUuid: uuid,
    multiprocessors,
    clockMhz,
    memoryClockMhz,
    deviceMemoryBytes: memoryBytes,
  };
}
