// Plain matrix products as jobs for the workers.
import type { ProductShape } from "../contract/resolve_ops.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { dtypeCode, elements } from "../wasm/elements.ts";
import type { ExpertsJob } from "../wasm/tasks/experts_job.ts";
import { blocking, kernelCut, planProducts } from "./plan.ts";

/** Tensors in shared memory; each of a float type of its own, but for the bias, which has that of `b`. */
export interface ProductTensors {
  /** [batch, rows, depth]. */
  readonly a: Tensor;
  /** [batch, depth, columns], or [batch, columns, depth] where it is transposed. */
  readonly b: Tensor;
  readonly transposed: boolean;
  /** [batch, columns]. */
  readonly bias?: Tensor | undefined;
  /** [batch, rows, columns]. */
  readonly output: Tensor;
}

const none = new Uint16Array(0), noNumbers = new Int32Array(0);

/**
 * The job of products summed in f32 by the kernels, as an expert's second one is: a row's bits depend neither on the other
 * rows nor on the number of threads.
 */
export function productJob(
  shape: ProductShape,
  { a, b, transposed, bias, output }: ProductTensors,
  threads: number,
): ExpertsJob {
  const { items, groupSizes } = planProducts(shape, kernelCut(threads));
  return {
    hidden: shape.columns,
    intermediate: shape.depth,
    topK: 1,
    dtype: dtypeCode(b.dtype),
    inputDtype: dtypeCode(a.dtype),
    outputDtype: dtypeCode(output.dtype),
    activation: 0,
    alpha: 0,
    limit: 0,
    gated: false,
    interleaved: false,
    outIn: transposed,
    hiddenStates: none,
    gateUpProj: none,
    gateUpProjBias: undefined,
    downProj: elements(b.data),
    downProjBias: bias && elements(bias.data),
    weights: new Float32Array(0),
    rowScales: undefined,
    addend: undefined,
    addendWeights: undefined,
    tokens: noNumbers,
    rows: noNumbers,
    activations: elements(a.data),
    expertOutputs: elements(output.data),
    output: none,
    dirty: 0,
    items,
    progress: new Int32Array(new SharedArrayBuffer((1 + groupSizes.length) * 4)),
    groupSizes,
    blocking,
    blas: undefined,
  };
}
