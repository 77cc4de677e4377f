import { isPacked } from "../tensor/packed_tensor.ts";
import { describeValue } from "../tensor/tensor.ts";

/** Makes the error about a value that is not a tensor of a backend. */
export function foreignTensorError(value: unknown): TypeError {
  if (typeof value !== "object" || value === null) {
    return new TypeError(`Cannot use ${describeValue(value)}: expected a tensor of the backend`);
  }
  if (isPacked(value)) return new TypeError("Cannot use a packed tensor: expected a dense tensor of the backend");
  return new TypeError(
    Symbol.dispose in value
      ? "Cannot use a tensor of another backend"
      : "Cannot use a tensor of the host: copy it to the backend with upload()",
  );
}
