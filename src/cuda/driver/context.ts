// A device's primary context, which all other objects of the driver belong to.
import { type Api, type Arguments, Caller } from "./caller.ts";
import type { Driver } from "./driver.ts";
import { CudaError } from "./error.ts";

/**
 * The primary context of a device. Each call first makes it current, because the thread may also use the driver otherwise. After
 * an error that makes the context unusable, calls are refused with that error as their cause.
 */
export class Context extends Caller implements Disposable {
  readonly driver: Driver;
  /** The device's CUdevice. */
  readonly device: number;
  #handle: bigint;
  #poison: CudaError | undefined;
  #failed = false;

  /** Retains the primary context of a device. */
  constructor(driver: Driver, ordinal: number) {
    super();
    this.driver = driver;
    this.device = driver.number("cuDeviceGet", ordinal);
    this.#handle = driver.retainContext(this.device);
  }

  /**
   * Calls a driver function in this context.
   *
   * @throws {CudaError} If it fails, or an earlier error has made the context unusable.
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
      this.#failed = true;
      if (error instanceof CudaError && error.poisoned) this.#poison = error;
      throw error;
    }
  }

  /** Makes the context current on this thread, for a library that uses the current one. */
  makeCurrent(): void {
    if (this.#handle === 0n) throw new TypeError("Cannot use a context that is disposed");
    this.driver.call("cuCtxSetCurrent", this.#handle);
  }

  /**
   * Calls a function that releases something. Nothing is left to release in a lost or disposed context. After the first error,
   * further errors are ignored: they would hide the first, and the driver frees what is left with the context.
   */
  release<Name extends Api>(api: Name, ...args: Arguments<Name>): void {
    if (this.#handle === 0n || this.#poison) return;
    this.#unlessFailed(() => this.call(api, ...args));
  }

  /** Releases the context and everything in it. A second call does nothing. */
  [Symbol.dispose](): void {
    if (this.#handle === 0n) return;
    this.#handle = 0n;
    this.#unlessFailed(() => this.driver.releaseContext(this.device));
  }

  #unlessFailed(release: () => void): void {
    const failed = this.#failed;
    try {
      release();
    } catch (error) {
      this.#failed = true;
      if (!failed) throw error;
    }
  }
}
