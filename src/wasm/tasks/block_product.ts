import type { Context } from "../context.ts";
import type { blasProduct } from "./blas_product.ts";
import type { fewProduct } from "./few_product.ts";
import type { operands } from "./operands.ts";
import type { packedRows } from "./packed_rows.ts";
import type { panelProduct } from "./panel_product.ts";
import type { Block, PackedRows, Product } from "./product.ts";

/** Computes a block of a product: with the library if one was found and the block has enough rows, else with the kernels. */
export function blockProduct(
  context: Context,
  product: Product,
  block: Block,
  packed: PackedRows,
  parts: {
    readonly operands: typeof operands;
    readonly packedRows: typeof packedRows;
    readonly fewProduct: typeof fewProduct;
    readonly panelProduct: typeof panelProduct;
    readonly blasProduct: typeof blasProduct;
  },
): void {
  const isFew = block.rows < product.blocking.fewRows;
  const multiply = isFew ? parts.fewProduct : product.blas === undefined ? parts.panelProduct : parts.blasProduct;
  multiply(context, product, block, packed, parts);
}
