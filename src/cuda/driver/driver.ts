// The driver's functions, with a status turned into an exception.
import { BackendUnavailableError } from "../../backend/unavailable_error.ts";
import { type Api, type Arguments, Caller } from "./caller.ts";
import { CudaError } from "./error.ts";
import { openLibrary, type Symbols } from "./library.ts";

/** The oldest driver that loads the cubins, as cuDriverGetVersion tells it: CUDA 13.0. */
const minimumVersion = 13000;

const noDevice = 100;

/** The driver, initialised. */
export class Driver extends Caller {
  /** What cuDriverGetVersion tells: 1000 · major + 10 · minor. */
  readonly version: number;
  /** How many devices there are, at least 1. */
  readonly deviceCount: number;
  readonly #symbols: Symbols;

  /**
   * Opens and initialises the driver.
   *
   * @param path The library to open; see {@linkcode openLibrary}.
   * @throws {BackendUnavailableError} If there is no driver, it may not be used, is too old, or has no device.
   * @throws {CudaError} If it fails otherwise.
   */
  constructor(path?: string) {
    super();
    this.#symbols = openLibrary(path);
    this.version = this.number("cuDriverGetVersion");
    if (this.version < minimumVersion) {
      throw new BackendUnavailableError(
        `Cannot use the NVIDIA driver: it supports CUDA ${formatVersion(this.version)}, ` +
          `and CUDA ${formatVersion(minimumVersion)} (driver 580) is needed`,
      );
    }
    this.deviceCount = this.#initialize();
    if (this.deviceCount === 0) {
      throw new BackendUnavailableError("Cannot find a GPU: the NVIDIA driver is there and reports no device");
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

  /** The address of a buffer. It holds while the buffer is referenced. */
  addressOf(buffer: BufferSource): bigint {
    return this.#symbols.addressOf(buffer, null, 0n);
  }
}

/** 13020 as 13.2. */
export function formatVersion(version: number): string {
  return `${Math.floor(version / 1000)}.${Math.floor(version % 1000 / 10)}`;
}
