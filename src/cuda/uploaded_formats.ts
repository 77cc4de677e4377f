import type { BackendTensor } from "../backend/backend.ts";
import type { ExpertsInputs } from "../contract/experts.ts";
import type { ResolvedExperts } from "../contract/resolve_experts.ts";
import { isPacked } from "../tensor/packed_tensor.ts";

/**
 * Returns the sizes of a call with the formats of the uploaded weights. They differ from the formats of the call if the upload
 * found wide scales: the call may be resolved from tensors of the host, or from weights with other experts.
 */
export function withUploadedFormats(
  shape: ResolvedExperts,
  { gateUpProj, downProj }: Pick<ExpertsInputs<BackendTensor>, "gateUpProj" | "downProj">,
): ResolvedExperts {
  const formats = {
    gateUpProj: isPacked(gateUpProj) ? gateUpProj.format : shape.formats.gateUpProj,
    downProj: isPacked(downProj) ? downProj.format : shape.formats.downProj,
  };
  const isSame = formats.gateUpProj === shape.formats.gateUpProj && formats.downProj === shape.formats.downProj;
  return isSame ? shape : { ...shape, formats };
}
