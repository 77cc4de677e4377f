// Calls of driver functions.
import type { Symbols } from "./library.ts";

/** The functions that return a CUresult. */
export type Api = Exclude<keyof Symbols, "addressOf">;

/** A function's arguments. */
export type Arguments<Name extends Api> = Parameters<Symbols[Name]>;

/** A function's arguments after the first, which receives its result. */
type Rest<Name extends Api> = Arguments<Name> extends [unknown, ...infer Others] ? Others : never;

/** Calls driver functions and throws an error if one fails. */
export abstract class Caller {
  /**
   * Calls a function.
   *
   * @throws {CudaError} If its status is not CUDA_SUCCESS.
   */
  abstract call<Name extends Api>(api: Name, ...args: Arguments<Name>): void;

  /** Calls a function whose result is an int. */
  number<Name extends Api>(api: Name, ...rest: Rest<Name>): number {
    const out = new Int32Array(1);
    this.call(api, ...[out, ...rest] as unknown as Arguments<Name>);
    return out[0]!;
  }

  /** Calls a function whose result is a handle, a device pointer or a size. */
  handle<Name extends Api>(api: Name, ...rest: Rest<Name>): bigint {
    const out = new BigUint64Array(1);
    this.call(api, ...[out, ...rest] as unknown as Arguments<Name>);
    return out[0]!;
  }
}
