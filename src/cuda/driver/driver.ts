// The driver's functions. A failure status becomes an exception.
import { BackendUnavailableError } from "../../backend/unavailable_error.ts";
import { type Api, type Arguments, Caller } from "./caller.ts";
import { CudaError } from "./error.ts";
import { openLibrary, type Symbols } from "./library.ts";

/** The oldest driver that loads the cubins: CUDA 13.0, as cuDriverGetVersion reports it. */
const minimumVersion = 13000;

const noDevice = 100;

/** How often this process has retained a primary context without releasing it. */
interface ContextUses {
  /** By contexts that are in use. */
  live: number;
  /** By disposed contexts whose release has failed. */
  unreleased: number;
}

/** The uses of each device's primary context, by library. */
const contextUses = new WeakMap<Symbols, Map<number, ContextUses>>();

/** The initialized driver. */
export class Driver extends Caller {
  /** The CUDA version that the driver supports: 1000 · major + 10 · minor. */
  readonly version: number;
  /** The number of devices, at least 1. */
  readonly deviceCount: number;
  readonly #symbols: Symbols;

  /**
   * Opens and initializes the driver.
   *
   * @param path The library to open; see {@linkcode openLibrary}.
   * @throws {BackendUnavailableError} If the driver is missing, is not permitted, is too old, does not work or has no device.
   */
  constructor(path?: string) {
    super();
    this.#symbols = openLibrary(path);
    this.version = asUnavailable(() => this.number("cuDriverGetVersion"));
    if (this.version < minimumVersion) {
      throw new BackendUnavailableError(
        `Cannot use the NVIDIA driver: it supports CUDA ${formatVersion(this.version)}, ` +
          `but CUDA ${formatVersion(minimumVersion)} (driver 580) is needed`,
      );
    }
    this.deviceCount = asUnavailable(() => this.#initialize());
    if (this.deviceCount === 0) {
      throw new BackendUnavailableError("Cannot find a GPU: the NVIDIA driver is installed but reports no device");
    }
  }

  #initialize(): number {
    try {
      this.call("cuInit", 0);
      return this.number("cuDeviceGetCount");
    } catch (error) {
      if (error instanceof CudaError && error.code === noDevice) return 0;
      throw error;
    }
  }

  override call<Name extends Api>(api: Name, ...args: Arguments<Name>): void {
    const status = (this.#symbols[api] as (...args: unknown[]) => number)(...args);
    if (status !== 0) throw new CudaError(api, status);
  }

  /** Retains a device's primary context. If the last release has failed, repeats it first. */
  retainContext(device: number): bigint {
    const uses = this.#contextUses(device);
    if (uses.live === 0) {
      try {
        for (; uses.unreleased > 0; uses.unreleased--) this.call("cuDevicePrimaryCtxRelease_v2", device);
      } catch {
        // It is repeated the next time.
      }
    }
    const handle = this.handle("cuDevicePrimaryCtxRetain", device);
    uses.live++;
    return handle;
  }

  /** Releases a device's primary context. A failed release is repeated: it would keep the device's memory from others. */
  releaseContext(device: number): void {
    const uses = this.#contextUses(device);
    uses.live--;
    try {
      this.call("cuDevicePrimaryCtxRelease_v2", device);
    } catch (error) {
      try {
        this.call("cuDevicePrimaryCtxRelease_v2", device);
      } catch {
        uses.unreleased++;
      }
      throw error;
    }
  }

  #contextUses(device: number): ContextUses {
    const byDevice = contextUses.get(this.#symbols) ?? new Map<number, ContextUses>();
    contextUses.set(this.#symbols, byDevice);
    const uses = byDevice.get(device) ?? { live: 0, unreleased: 0 };
    byDevice.set(device, uses);
    return uses;
  }

  /** The address of a buffer, which is valid while the buffer is referenced. */
  addressOf(buffer: BufferSource): bigint {
    return this.#symbols.addressOf(buffer, null, 0n);
  }
}

/**
 * Runs a step of opening a GPU.
 *
 * @throws {BackendUnavailableError} If a driver call fails.
 */
export function asUnavailable<Result>(open: () => Result): Result {
  try {
    return open();
  } catch (error) {
    if (!(error instanceof CudaError)) throw error;
    throw new BackendUnavailableError(`Cannot use the NVIDIA driver: ${error.message}`, { cause: error });
  }
}

/** Formats 13020 as "13.2". */
export function formatVersion(version: number): string {
  return `${Math.floor(version / 1000)}.${Math.floor(version % 1000 / 10)}`;
}
