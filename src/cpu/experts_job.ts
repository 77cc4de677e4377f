// A call of `experts` as a job for the workers.
import { activationRules } from "../contract/activations.ts";
import type { ExpertsInputs } from "../contract/experts.ts";
import type { ResolvedExperts } from "../contract/resolve_experts.ts";
import { fromBfloat16 } from "../tensor/bfloat16.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { elements, wasmDType } from "../wasm/elements.ts";
import type { ExpertsJob } from "../wasm/tasks/experts.ts";
import type { Plan } from "./plan.ts";
import { plainProduct } from "./product.ts";
import { type SortedAssignments, sortWeights } from "./sort.ts";

/** The tensors that a call writes. */
export interface ExpertsResults {
  /** [N, I], in its first elements: may be the output, because all activations are read before the output is written. */
  readonly activations: Tensor;
  /** [N, H]. */
  readonly expertOutputs: Tensor;
  /** [T, H]. */
  readonly output: Tensor;
  /** The elements of the output from this one on are zeros. */
  readonly dirty: number;
}

/** Builds the job of a call. */
export function expertsJob(
  shape: ResolvedExperts,
  inputs: ExpertsInputs,
  sorted: SortedAssignments,
  { items, groupSizes }: Plan,
  { activations, expertOutputs, output, dirty }: ExpertsResults,
  blas: string | undefined,
): ExpertsJob {
  const { hidden, intermediate, topK, dtype } = shape;
  const isTransposed = shape.weightLayout === "out-in";
  const indices = inputs.routerIndices.data as Int32Array;
  const { inputWeights, addend, addendWeights } = inputs;
  return {
    gateUp: {
      ...plainProduct({ depth: hidden, columns: intermediate }, {
        a: inputs.hiddenStates,
        b: inputs.gateUpProj,
        bias: inputs.gateUpProjBias,
        isTransposed,
        output: activations,
      }, blas),
      rowsOfA: sorted.tokens,
      rowScales: inputWeights && sortWeights(inputWeights.data as Float32Array, sorted),
      isGated: shape.gated,
      isInterleaved: shape.gateUpLayout === "interleaved",
      activation: activationRules[shape.activation].wasm,
      alpha: shape.activationAlpha,
      limit: shape.activationLimit,
    },
    down: plainProduct({ depth: intermediate, columns: hidden }, {
      a: activations,
      b: inputs.downProj,
      bias: inputs.downProjBias,
      isTransposed,
      output: expertOutputs,
    }, blas),
    combine: {
      hidden,
      topK,
      dtype: wasmDType(dtype),
      expertOutputs: elements(expertOutputs.data),
      rows: sorted.rows,
      weights: assignmentWeights(inputs.routingWeights, indices, shape),
      addend: addend && elements(addend.data),
      addendWeights: addendWeights?.data as Float32Array | undefined,
      output: elements(output.data),
      dirty,
    },
    items,
    progress: new Int32Array(new SharedArrayBuffer((1 + groupSizes.length) * 4)),
    groupSizes,
  };
}

/** [T, K], f32: the weight of each assignment. Dense weights have E columns, one for each expert. */
function assignmentWeights(
  { dtype, data }: Tensor,
  indices: Int32Array,
  { topK, experts, denseWeights }: ResolvedExperts,
): Float32Array {
  let values: ArrayLike<number> = data;
  if (dtype === "bf16") fromBfloat16(data as Uint16Array, values = new Float32Array(data.length));
  const weights = new Float32Array(new SharedArrayBuffer(indices.length * 4));
  if (!denseWeights) weights.set(values);
  else for (let i = 0; i < indices.length; i++) weights[i] = values[Math.floor(i / topK) * experts + indices[i]!]!;
  return weights;
}
