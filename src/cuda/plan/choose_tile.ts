// Chooses a tile shape by the time that the products would take with it.
import type { RatedTile } from "./tiles.ts";

/** The properties of a call that {@linkcode chooseTile} depends on. */
export interface TileChoice<Tile = RatedTile> {
  /** The number of experts that have rows. */
  readonly experts: number;
  /** The mean number of their rows. */
  readonly rows: number;
  /** Whether all have exactly this number, because of the capacity. */
  readonly even: boolean;
  /** The columns and the depth of each product. */
  readonly products: readonly { readonly width: number; readonly depth: number }[];
  /** The multiprocessors of the GPU. */
  readonly multiprocessors: number;
  /** The number of blocks with tiles of a shape that a multiprocessor runs at once. */
  readonly resident: (shape: Tile) => number;
}

/** The means of the four quarters of a normal distribution, in standard deviations. */
const quarters = [-1.27, -0.325, 0.325, 1.27];

/** Chooses the shape with which the products take the least time. */
export function chooseTile<Tile extends RatedTile>(shapes: readonly Tile[], choice: TileChoice<Tile>): Tile {
  const times = shapes.map((shape) =>
    choice.products.reduce((sum, product) => sum + timeOf(shape, product, choice), 0)
  );
  return shapes[times.indexOf(Math.min(...times))]!;
}

/**
 * Estimates the microseconds of a product: those of the arithmetic of the multiprocessor that has most of it, or of reading the
 * weights once, whichever is longer, and somewhat more if both take about as long.
 */
function timeOf<Tile extends RatedTile>(
  shape: Tile,
  { width, depth }: TileChoice["products"][number],
  choice: TileChoice<Tile>,
): number {
  const { columns, speed, bandwidth, start } = shape;
  const { experts, multiprocessors } = choice;
  const computed = rowsOf(shape, Math.ceil(width / columns), choice) * columns * depth / (1e6 * speed);
  const read = (experts * width / multiprocessors + 0.2 * columns) * depth / (1e3 * bandwidth);
  return start + Math.cbrt(computed ** 3 + read ** 3);
}

/**
 * Estimates how many rows of tiles the multiprocessor that has most computes, if each expert has so many column tiles. A tile with
 * few rows takes as long as a full one, unless it can compute fewer. A multiprocessor with fewer blocks than it can run at once
 * is fully used by the square root of their number.
 */
function rowsOf<Tile extends RatedTile>(
  shape: Tile,
  columnTiles: number,
  { experts, rows, even, multiprocessors, resident }: TileChoice<Tile>,
): number {
  const { rows: maximum, widths = [maximum], leastRows = 0, extraRows = 0 } = shape;
  const deviation = even ? 0 : Math.sqrt(rows);
  const mean = (of: (rows: number) => number) =>
    quarters.reduce((sum, quarter) => sum + of(Math.max(1, rows + quarter * deviation)), 0) / quarters.length;
  const unitRows = (rows: number) => Math.max(leastRows, widths.find((width) => width >= rows) ?? maximum) + extraRows;
  const tilesOf = (rows: number) => Math.ceil(rows / maximum);
  const expertRows = (rows: number) => {
    const count = tilesOf(rows);
    return shape.even
      ? count * unitRows(rows / count)
      : (count - 1) * unitRows(maximum) + unitRows(rows - (count - 1) * maximum);
  };
  const tileRows = mean(expertRows) / mean(tilesOf);
  const tiles = experts * mean(tilesOf) * columnTiles / multiprocessors;
  const together = resident(shape), needed = Math.sqrt(together);
  if (shape.tail !== undefined) {
    const largest = mean((rows) => shape.even ? unitRows(rows / tilesOf(rows)) : unitRows(Math.min(maximum, rows)));
    return Math.max(tiles * tileRows + shape.tail * largest, needed * largest);
  }
  const full = Math.floor(tiles / together) * together, rest = Math.ceil(tiles - full - 1e-9);
  return (full + (rest > 0 ? Math.max(rest, needed) : 0)) * tileRows;
}
