import { expectObject, expectSpec, type TensorSpec } from "../contract/checks.ts";
import { checkNames } from "../known_names.ts";
import { elementCount } from "../tensor/tensor.ts";
import type { ElementRange } from "./backend.ts";

/**
 * Checks a range of a tensor's elements. By default, the range is the whole tensor.
 *
 * @throws {TypeError} If the value is not a range.
 * @throws {RangeError} If the range is not within the tensor.
 */
export function resolveRange(tensor: TensorSpec, range?: ElementRange): ElementRange {
  expectSpec("tensor", tensor);
  const count = elementCount(tensor.shape);
  if (range === undefined) return { start: 0, end: count };
  expectObject("range", range);
  checkNames("range", range, ["start", "end"]);
  const { start, end } = range;
  if (Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && start <= end && end <= count) {
    return range;
  }
  throw new RangeError(`range must be within the ${count} elements of the tensor, got ${start} to ${end}`);
}
