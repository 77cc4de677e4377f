// A device's primary context: what every other owned type hangs on.
import { type Api, type Arguments, Caller } from "./caller.ts";
import type { Driver } from "./driver.ts";
import { CudaError } from "./error.ts";

/**
 * The primary context of a device. Every call through it first makes it current, for this thread may have other users of
 * the driver, and is refused once a kernel has failed in it: the driver would only repeat that error.
 */
export class Context extends Caller implements Disposable {
  readonly driver: Driver;
  /** The device's CUdevice. */
  readonly device: number;
  #handle: bigint;
  #poison: CudaError | undefined;

  /** Retains the primary context of a device. */
  constructor(driver: Driver, ordinal: number) {
    super();
    this.driver = driver;
    this.device = driver.number("cuDeviceGet", ordinal);
    this.#handle = driver.handle("cuDevicePrimaryCtxRetain", this.device);
  }

  /**
   * Calls a driver function in this context.
   *
   * @throws {CudaError} If it fails, or a kernel has failed in this context before.
   * @throws {TypeError} If the context is disposed.
   */
  override call<Name extends Api>(api: Name, ...args: Arguments<Name>): void {
    if (this.#handle === 0n) throw new TypeError(`Cannot call ${api}: the context is disposed`);
    if (this.#poison) {
      throw new CudaError(api, this.#poison.code, "the context was lost before", { cause: this.#poison });
    }
    try {
      this.driver.call("cuCtxSetCurrent", this.#handle);
      this.driver.call(api, ...args);
    } catch (error) {
      if (error instanceof CudaError && error.poisoned) this.#poison = error;
      throw error;
    }
  }

  /** Calls a function that gives something back. In a lost or disposed context there is nothing left to give. */
  release<Name extends Api>(api: Name, ...args: Arguments<Name>): void {
    if (this.#handle !== 0n && !this.#poison) this.call(api, ...args);
  }

  /** Releases the context; with it goes whatever is still in it. A second time does nothing. */
  [Symbol.dispose](): void {
    if (this.#handle === 0n) return;
    this.#handle = 0n;
    try {
      this.driver.call("cuDevicePrimaryCtxRelease_v2", this.device);
    } catch (error) {
      // Whatever else is wrong, do not keep the device's memory from others.
      this.driver.call("cuDevicePrimaryCtxRelease_v2", this.device);
      throw error;
    }
  }
}
