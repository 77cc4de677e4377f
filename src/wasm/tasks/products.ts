import type { Context } from "../context.ts";
import type { Parts } from "./parts.ts";
import type { PackedRows, Product } from "./product.ts";

/** The job of {@linkcode products}. */
export interface ProductsJob {
  readonly product: Product;
  /** The blocks, five numbers each: matrix, first row, rows, first column, columns. */
  readonly items: Int32Array;
  /** The next item. */
  readonly next: Int32Array;
}

/** Computes the blocks of a batch of products. */
export function products(context: Context, { product, items, next }: ProductsJob, parts: Parts): void {
  const itemSize = 5;
  const packed: PackedRows = { product: undefined, key: "" };
  while (true) {
    const at = Atomics.add(next, 0, 1) * itemSize;
    if (at >= items.length) return;
    const [matrix, row, rows, column, columns] = items.subarray(at, at + itemSize) as unknown as Fields;
    parts.blockProduct(context, product, { matrix, row, rows, column, columns }, packed, parts);
  }
}

type Fields = [matrix: number, row: number, rows: number, column: number, columns: number];
