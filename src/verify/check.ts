// The result of one check of `verify`, and the relative error against float64.
import { convert, type DType, type Tensor } from "../tensor/tensor.ts";

/** The result of one check. */
export interface Check {
  /** The name of the check. */
  readonly name: string;
  /** ‖error‖ / ‖result‖. For a check of determinism, the number of runs that differed. */
  readonly error: number;
  /** The largest error that passes. */
  readonly bound: number;
  /** Whether the check passed. */
  readonly passed: boolean;
}

/** The largest ‖error‖ / ‖result‖ that a result of each dtype may have. */
export const errorBounds: Readonly<Record<Exclude<DType, "i32" | "u8">, number>> = {
  f16: 3.7e-4,
  bf16: 3e-3,
  f32: 5e-6,
};

/** Makes a check that passes if the error is at most the bound. */
export function boundedCheck(name: string, error: number, bound: number): Check {
  return { name, error, bound, passed: error <= bound };
}

/** ‖actual − expected‖ / ‖expected‖ over one result, or over several results together: the error of a few numbers varies. */
export class RelativeError {
  #error = 0;
  #norm = 0;

  /** Adds a result. */
  add(actual: Tensor, expected: ArrayLike<number>): this {
    const { data } = actual.dtype === "bf16" ? convert(actual, "f32") : actual;
    for (let i = 0; i < expected.length; i++) {
      this.#error += (data[i]! - expected[i]!) ** 2;
      this.#norm += expected[i]! ** 2;
    }
    return this;
  }

  /** The relative error over all results added so far. */
  get value(): number {
    return Math.sqrt(this.#error / this.#norm);
  }
}
