// The tile shapes of the matrix products, as cuda/gemm.cu, cuda/wgmma.cu, cuda/stream.cu and cuda/simt_gemm.cu instantiate them.

/** A tile shape. */
export interface TileShape {
  /** The part of the kernels' names that identifies the shape. */
  readonly name: string;
  /** Rows per tile. */
  readonly rows: number;
  readonly columns: number;
  readonly threads: number;
  /** Dynamic shared memory per block, in bytes. */
  readonly sharedBytes: number;
  /**
   * The speed of a multiprocessor that is full of such tiles, relative to the largest tiles of the general kernels. A large tile
   * moves fewer bytes for the same arithmetic.
   */
  readonly efficiency: number;
  /** Whether a block takes a tile when it is ready for it. Defaults to `false`. */
  readonly balanced?: boolean;
  /** A tile takes as long as if it had this many more rows, because it also copies its weights. Defaults to 0. */
  readonly extraRows?: number;
  /** A tile computes only as many rows as it has, rounded up to a multiple of this. Defaults to `rows`. */
  readonly rowUnit?: number;
  /** The bandwidth at which such tiles read weights when they wait for nothing else, relative to the fastest tiles. Defaults to 1. */
  readonly bandwidth?: number;
}

/** The tile shape of a kernel that copies its weights in boxes; see weight_boxes.ts. */
export interface BoxedTile extends TileShape {
  /** Depth of a step. */
  readonly boxDepth: number;
  /** Columns of a box. */
  readonly boxColumns: number;
  /** Whether gate and up columns are in different strips of `boxColumns` columns, if they are split. */
  readonly strips: boolean;
}

/** The tile shapes of the kernels of one kind, largest first. */
export type TileFamily = readonly (TileShape | BoxedTile)[];

/** The tile shapes on tensor cores. The efficiencies were measured on an H100, except for 16 rows, which is a guess. */
export function tensorTiles(computeCapability: number): TileFamily {
  const shapes = [
    { rows: 256, columns: 128, threads: 256, stages: 4, efficiency: 1, bandwidth: 0.75 },
    { rows: 128, columns: 128, threads: 128, stages: 4, efficiency: 0.86, bandwidth: 0.85 },
    { rows: 64, columns: 128, threads: 128, stages: 4, efficiency: 0.74, bandwidth: 0.92 },
    { rows: 16, columns: 64, threads: 32, stages: 8, efficiency: 0.24, bandwidth: 0.95 },
  ];
  return shapes.map(({ stages, ...shape }) => {
    // A ring of steps of A and B with a depth of 32 and 2 bytes per element; two stages if copies go through registers.
    const sharedBytes = (computeCapability >= 80 ? stages : 2) * (shape.rows + shape.columns) * 32 * 2;
    return { ...shape, name: `${shape.rows}`, sharedBytes };
  });
}

/**
 * The tile shapes on tensor cores that decode packed weights themselves. They spend most of their time on that, however few rows
 * a tile has, and wait less for memory. Their speeds were measured on an H200.
 */
export function storedTiles(computeCapability: number): TileFamily {
  return tensorTiles(computeCapability).filter(({ rows }) => rows === 64 || rows === 128).map((shape) => ({
    ...shape,
    ...{ efficiency: shape.rows === 128 ? 1 : 0.7, bandwidth: Infinity },
  }));
}

/** The dynamic shared memory of such a tile for a product with numbers of so many bits, in bytes. */
export function storedBytes({ rows, columns, sharedBytes }: TileShape, bits: 4 | 8): number {
  const stages = sharedBytes / ((rows + columns) * 32 * 2);
  // A ring of steps of A, of packed columns and of their scales; and two steps of decoded columns.
  return stages * (rows * 32 * 2 + columns * (32 * bits / 8 + 8)) + 2 * columns * 32 * 2;
}

/**
 * The tile shapes with Hopper's wgmma; for few rows, one that streams the weights. The efficiencies were measured on an H100
 * and an H200.
 *
 * @param split Whether gate and up columns are split in weights [in, out]: the kernels read those in shorter pieces.
 */
export function hopperTiles(split: boolean): TileFamily {
  const boxed = { boxDepth: 64, boxColumns: 64 };
  return [
    // A ring of 4 steps with a depth of 64, a pointer for each row, two mbarriers for each step; and 8 tickets with mbarriers.
    {
      ...{ name: "wgmma", rows: 192, columns: 256, threads: 512, efficiency: 1.15 },
      ...{ ...boxed, strips: true },
      ...{ rowUnit: 16, extraRows: 34, bandwidth: 0.88, balanced: true },
      sharedBytes: 4 * ((192 + 256) * 64 * 2 + 16) + 192 * 8 + 8 * 24,
    },
    ...tensorTiles(90).filter(({ rows }) => rows === 64).map((shape) => ({
      ...shape,
      efficiency: split ? 0.35 : 0.5,
      bandwidth: split ? 0.68 : 0.9,
    })),
    // A ring of 4 steps with a depth of 128, whose rows of the input have 16 bytes of padding, and two mbarriers for each step;
    // and 6 slots with an mbarrier, a ticket, and the position and the scale of each row.
    {
      ...{ name: "stream32", rows: 32, columns: 64, threads: 192, efficiency: 0.175, rowUnit: 8 },
      ...{ ...boxed, strips: false },
      ...{ streams: true, sharedBytes: 4 * (64 * 128 * 2 + 32 * (128 * 2 + 16) + 16) + 6 * (8 + 32 * 8 + 16) },
    },
  ];
}

/** The tile shapes without tensor cores, in f32. The efficiencies are guesses. */
export const simtTiles: TileFamily = [
  { rows: 128, columns: 64, threads: 256, efficiency: 1 },
  { rows: 16, columns: 64, threads: 128, efficiency: 0.4 },
].map((shape) => ({
  ...shape,
  name: `${shape.rows}`,
  // Two steps with a depth of 16, in f32. Each row has 4 elements of padding, to avoid bank conflicts.
  sharedBytes: 2 * 16 * (shape.rows + shape.columns + 8) * 4,
}));

/** The properties of a call that {@linkcode chooseTile} depends on. */
export interface TileChoice {
  /** The number of experts that have rows. */
  readonly experts: number;
  /** The mean number of their rows. */
  readonly rows: number;
  /** Whether all have exactly this number, because of the capacity. */
  readonly even: boolean;
  /** The columns and the depth of each product. */
  readonly products: readonly { readonly width: number; readonly depth: number }[];
  /** The number of tiles of a shape that the GPU computes at once. */
  readonly slots: (shape: TileShape) => number;
}

/** The rows per expert at which the fastest tiles take as long to compute as to read the weights. From an H100. */
const balance = 217;

/** The means of the four quarters of a normal distribution, in standard deviations. */
const quarters = [-1.27, -0.325, 0.325, 1.27];

/**
 * Chooses the fastest shape. A shape takes as long as its arithmetic, or as reading the weights once, whichever is longer, and
 * somewhat longer if both take about as long. A tile that is half empty takes as long as a full one, unless its rows come in
 * units. The last wave of tiles takes as long as the others, even if it is not full; if blocks take tiles when they are ready, it
 * takes three quarters of the time of a largest tile.
 */
export function chooseTile(
  shapes: readonly TileShape[],
  { experts, rows, even, products, slots }: TileChoice,
): TileShape {
  const spread = even ? 0 : Math.sqrt(rows);
  const columns = products.reduce((sum, { width }) => sum + width, 0);
  const cost = (shape: TileShape) => {
    const unit = shape.rowUnit ?? shape.rows;
    const samples = quarters.map((sigma) => Math.max(1, rows + sigma * spread));
    const mean = (of: (rows: number) => number) => samples.reduce((sum, rows) => sum + of(rows), 0) / samples.length;
    const rowTiles = (rows: number) => Math.ceil(rows / shape.rows);
    const columnTiles = Math.ceil(columns / shape.columns);
    const unitRows = (rows: number) => Math.ceil(rows / unit) * unit, extraRows = shape.extraRows ?? 0;
    const computedRows = mean(unitRows) + mean(rowTiles) * extraRows;
    const wholeWaves = () => {
      const tiles = experts * mean(rowTiles) * columnTiles;
      return Math.ceil(tiles / slots(shape)) * slots(shape) / tiles;
    };
    const balancedWaves = () => {
      const largest = Math.min(shape.rows, mean(unitRows)) + extraRows;
      const sum = (of: (columnTiles: number) => number) =>
        products.reduce((sum, { width, depth }) => sum + depth * of(Math.ceil(width / shape.columns)), 0);
      return 1 + 0.75 * sum(() => slots(shape) * largest) / sum((columnTiles) => columnTiles * experts * computedRows);
    };
    const waves = shape.balanced ? balancedWaves() : wholeWaves();
    const computed = waves * experts * computedRows * columnTiles * shape.columns / shape.efficiency;
    const read = experts * columns * balance / (shape.bandwidth ?? 1);
    return (computed ** 3 + read ** 3) ** (1 / 3);
  };
  const costs = shapes.map(cost);
  return shapes[costs.indexOf(Math.min(...costs))]!;
}
