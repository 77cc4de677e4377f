// What tasks have in common: functions that close over nothing, handed to each task on its worker.
import { blasProduct } from "./blas_product.ts";
import { operands } from "./operands.ts";
import { panelProduct } from "./panel_product.ts";

/** The functions, by name. */
export const parts = { operands, panelProduct, blasProduct };

/** See {@linkcode parts}. */
export type Parts = typeof parts;
