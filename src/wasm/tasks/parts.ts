// The functions that tasks share. They close over nothing, and each task gets them as an argument on its worker.
import { blasProduct } from "./blas_product.ts";
import { blockProduct } from "./block_product.ts";
import { fewProduct } from "./few_product.ts";
import { operands } from "./operands.ts";
import { packedRows } from "./packed_rows.ts";
import { panelProduct } from "./panel_product.ts";

/** The functions, by name. */
export const parts = { operands, packedRows, fewProduct, panelProduct, blasProduct, blockProduct };

/** The type of {@linkcode parts}. */
export type Parts = typeof parts;
