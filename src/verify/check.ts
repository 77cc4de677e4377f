// What a check of `verify` says, and how far a result is from float64.
import { convert, type DType, type Tensor } from "../tensor/tensor.ts";

/** What one check found. */
export interface Check {
  /** What was checked. */
  readonly name: string;
  /** ‖error‖ / ‖result‖; for determinism, the number of runs that differed. */
  readonly error: number;
  /** The most that passes. */
  readonly bound: number;
  readonly passed: boolean;
}

/** The most ‖error‖ / ‖result‖ that results of a dtype may have. */
export const errorBounds: Readonly<Record<Exclude<DType, "i32">, number>> = { f16: 3.7e-4, bf16: 3e-3, f32: 5e-6 };

/** A check whose error may be as large as its bound. */
export function boundedCheck(name: string, error: number, bound: number): Check {
  return { name, error, bound, passed: error <= bound };
}

/** ‖actual − expected‖ / ‖expected‖, over one result or over several together, for an error of few numbers scatters. */
export class RelativeError {
  #error = 0;
  #norm = 0;

  /** Takes a result in. */
  add(actual: Tensor, expected: ArrayLike<number>): this {
    const { data } = actual.dtype === "bf16" ? convert(actual, "f32") : actual;
    for (let i = 0; i < expected.length; i++) {
      this.#error += (data[i]! - expected[i]!) ** 2;
      this.#norm += expected[i]! ** 2;
    }
    return this;
  }

  /** The error of all that came in. */
  get value(): number {
    return Math.sqrt(this.#error / this.#norm);
  }
}
