// The device pointers of the parts of packed weights. The values have the name of the weight.
import type { BackendTensor } from "../backend/backend.ts";
import type { ExpertsInputs } from "../contract/experts.ts";
import { isPacked } from "../tensor/packed_tensor.ts";
import type { PartName } from "./plan/stored.ts";

const weights = ["gateUpProj", "downProj"] as const;
const parts = ["scales", "globalScales", "zeroPoints"] as const;

/** The names of the other parts, in the order of their pointers. */
export const partNames: readonly PartName[] = weights.flatMap((weight) =>
  parts.map((part) => `${weight}.${part}` as const)
);

/** Finds the pointers of these parts, null for those that a weight does not have. */
export function partPointers<T extends BackendTensor>(
  inputs: Pick<ExpertsInputs<T>, "gateUpProj" | "downProj">,
  pointerOf: (part: T) => bigint,
): (bigint | null)[] {
  return weights.flatMap((name) => {
    const weight = inputs[name];
    return parts.map((part) => {
      const tensor = isPacked(weight) ? weight.parts[part] : undefined;
      return tensor ? pointerOf(tensor) : null;
    });
  });
}
