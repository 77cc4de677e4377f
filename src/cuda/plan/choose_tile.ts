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
  /** The columns and the depth of each product, and whether its gate and up columns are split in weights [in, out]. */
  readonly products: readonly { readonly width: number; readonly depth: number; readonly split: boolean }[];
  /** The multiprocessors of the GPU. */
  readonly multiprocessors: number;
  /** The number of blocks with tiles of a shape that a multiprocessor runs at once. */
  readonly resident: (shape: Tile) => number;
  /** The time of the sort with tiles of a shape, as a part of that of a kernel for it. */
  readonly sort: (shape: Tile) => number;
}

/** The means of the four quarters of a normal distribution, in standard deviations. */
const quarters = [-1.27, -0.325, 0.325, 1.27];

/** The microseconds of a kernel that sorts the assignments. */
const sortTime = 4.5;

/** Chooses the shape with which the products take the least time. */
export function chooseTile<Tile extends RatedTile>(shapes: readonly Tile[], choice: TileChoice<Tile>): Tile {
  const times = shapes.map((shape) =>
    choice.products.reduce(
      (sum, product) => sum + timeOf(shape, product, choice),
      sortTime * choice.sort(shape),
    )
  );
  return shapes[times.indexOf(Math.min(...times))]!;
}

/** The tiles of a product. */
interface ProductTiles {
  /** Their number for each multiprocessor. */
  readonly count: number;
  /** The rows that a tile takes the time of: the mean, and of the largest tile of an expert. */
  readonly rows: number;
  readonly largest: number;
}

/**
 * Estimates the microseconds of a product: in each wave of tiles, those of the arithmetic or of reading the weights, whichever is
 * longer, and somewhat more if both take about as long. The last wave may be on few multiprocessors. It takes the arithmetic of a
 * whole tile, but reads only its own weights.
 */
function timeOf<Tile extends RatedTile>(
  shape: Tile,
  { width, depth, split }: TileChoice["products"][number],
  choice: TileChoice<Tile>,
): number {
  const { columns, speed, bandwidth, splitBandwidth = bandwidth, start, tail, drift = 0 } = shape;
  const { experts, multiprocessors, resident } = choice;
  const { count, rows, largest } = tilesOf(shape, width, split, choice);
  const row = columns * depth / (1e6 * speed);
  const weight = depth / (1e3 * (split ? splitBandwidth : bandwidth)), weights = experts * width / multiprocessors;
  // A multiprocessor with fewer blocks than it can run at once is fully used by the square root of their number.
  const together = resident(shape), needed = Math.sqrt(together);
  if (tail !== undefined) {
    const computed = Math.max(count * rows + tail * largest, needed * largest) * row;
    return start + Math.cbrt(computed ** 3 + ((weights + 0.2 * columns) * weight) ** 3);
  }
  const read = count > 0 ? weights * weight / count : 0; // of a tile
  const waves = (count: number) => {
    const full = Math.floor(count / together), rest = count - full * together;
    const computed = rest > 0 ? Math.max(Math.ceil(rest), needed) * (full > 0 ? rows : largest) * row : 0;
    return full * together * Math.cbrt((rows * row) ** 3 + read ** 3) + Math.cbrt(computed ** 3 + (rest * read) ** 3);
  };
  const later = Math.max(0, count - together); // beyond the first wave, which starts together
  return start + mean((quarter) => waves(count + drift * quarter * later));
}

/** Estimates the tiles of a product. A tile with few rows takes as long as a full one, unless it can compute fewer. */
function tilesOf<Tile extends RatedTile>(
  shape: Tile,
  width: number,
  split: boolean,
  { experts, rows, even, multiprocessors }: TileChoice<Tile>,
): ProductTiles {
  const { rows: maximum, widths = [maximum], leastRows = 0 } = shape;
  const extraRows = (shape.extraRows ?? 0) + (split ? shape.splitRows ?? 0 : 0);
  const deviation = even ? 0 : Math.sqrt(rows);
  const meanOf = (of: (rows: number) => number) => mean((quarter) => of(Math.max(1, rows + quarter * deviation)));
  const unitRows = (rows: number) => Math.max(leastRows, widths.find((width) => width >= rows) ?? maximum) + extraRows;
  const tilesOf = (rows: number) => Math.ceil(rows / maximum);
  const expertRows = (rows: number) => {
    const count = tilesOf(rows);
    return shape.even
      ? count * unitRows(rows / count)
      : (count - 1) * unitRows(maximum) + unitRows(rows - (count - 1) * maximum);
  };
  const expertTiles = meanOf(tilesOf);
  return {
    count: experts * expertTiles * Math.ceil(width / shape.columns) / multiprocessors,
    rows: meanOf(expertRows) / expertTiles,
    largest: meanOf((rows) => shape.even ? unitRows(rows / tilesOf(rows)) : unitRows(Math.min(maximum, rows))),
  };
}

/** The mean over the quarters. */
function mean(of: (quarter: number) => number): number {
  return quarters.reduce((sum, quarter) => sum + of(quarter), 0) / quarters.length;
}
