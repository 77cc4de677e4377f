import type { KernelLaunch } from "../cuda/driver/kernel.ts";
import type { TensorName } from "../cuda/plan/experts.ts";

/** The device pointers of a call's tensors. */
export type PointerTable = Readonly<Record<TensorName, bigint | null>>;

/** Replaces the names of tensors by their pointers. */
export function resolveLaunch(
  { arguments: values, ...launch }: KernelLaunch<TensorName>,
  pointers: PointerTable,
): KernelLaunch {
  const resolved = Object.entries(values).map(([name, value]) => [
    name,
    typeof value === "string"
      ? pointers[value]
      : typeof value === "object" && value
      ? { ...value, pointer: pointers[value.pointer] }
      : value,
  ]);
  return { ...launch, arguments: Object.fromEntries(resolved) };
}
