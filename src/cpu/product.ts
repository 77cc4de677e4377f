// Matrix products as jobs for the workers.
import type { ProductShape } from "../contract/resolve_ops.ts";
import { isPacked, type PackedTensor } from "../tensor/packed_tensor.ts";
import type { DType, Tensor } from "../tensor/tensor.ts";
import { F32, NONE } from "../wasm/codes.ts";
import { elements, wasmDType } from "../wasm/elements.ts";
import type { ProductsJob } from "../wasm/tasks/products.ts";
import type { Product } from "../wasm/tasks/product.ts";
import { packedWeights } from "./packed_weights.ts";
import { blocking, kernelCut, planProducts } from "./plan.ts";

/** Tensors in shared memory. Each can have its own float dtype. */
export interface ProductTensors {
  /** [batch, rows, depth]. */
  readonly a: Tensor;
  /** [batch, depth, columns], or [batch, columns, depth] if it is transposed, as packed weights are. */
  readonly b: Tensor | PackedTensor;
  readonly isTransposed: boolean;
  /** [batch, columns]. */
  readonly bias?: Tensor | undefined;
  /** [batch, rows, columns]. */
  readonly output: Tensor;
}

/** A product without gate, scale and activation. */
export function plainProduct(
  { depth, columns }: Pick<ProductShape, "depth" | "columns">,
  { a, b, isTransposed, bias, output }: ProductTensors,
  blas?: string,
): Product {
  return {
    depth,
    width: columns,
    a: elements(a.data),
    rowsOfA: undefined,
    ...weightsOf(b, a.dtype),
    isTransposed,
    bias: bias && elements(bias.data),
    out: elements(output.data),
    dtypes: {
      a: wasmDType(a.dtype),
      b: isPacked<PackedTensor>(b) ? F32 : wasmDType(b.dtype),
      bias: wasmDType((bias ?? a).dtype),
      out: wasmDType(output.dtype),
    },
    rowScales: undefined,
    isGated: false,
    isInterleaved: false,
    activation: NONE,
    alpha: 0,
    limit: 0,
    blocking,
    blas,
  };
}

function weightsOf(b: Tensor | PackedTensor, activations: DType): Pick<Product, "b" | "packed"> {
  if (!isPacked<PackedTensor>(b)) return { b: elements(b.data), packed: undefined };
  return { b: new Float32Array(0), packed: packedWeights(b, activations) };
}

/**
 * The job of a batch of products. The kernels multiply: the bits of a row depend neither on the other rows nor on the number
 * of threads.
 */
export function productsJob(shape: ProductShape, tensors: ProductTensors, threads: number): ProductsJob {
  return {
    product: plainProduct(shape, tensors),
    items: planProducts(shape, kernelCut(threads)),
    next: new Int32Array(new SharedArrayBuffer(4)),
  };
}
