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
}

/**
 * A tile shape and its speed. The numbers are those of an H200; for other GPUs only their ratios matter.
 */
export interface RatedTile extends TileShape {
  /** Millions of multiplications and additions per microsecond of a multiprocessor that is full of such tiles. */
  readonly speed: number;
  /** Thousands of weights per microsecond that such tiles read on a multiprocessor. */
  readonly bandwidth: number;
  /** The microseconds of a product that do not depend on its size. */
  readonly start: number;
  /** The time at the end of a product when some blocks find no tile, in tiles. By default, a product takes waves of tiles. */
  readonly tail?: number;
  /**
   * If a block takes a tile when it is ready for it: the standard deviation of the number of waves after the first, as a part of it.
   * Defaults to 0: each block has its tiles from the start.
   */
  readonly drift?: number;
  /** A tile takes as long as if it had this many more rows. Defaults to 0. */
  readonly extraRows?: number;
  /** And this many more if gate and up columns are split in weights [in, out]: they are copied in short pieces. Defaults to 0. */
  readonly splitRows?: number;
  /** The bandwidth with such columns. Defaults to `bandwidth`. */
  readonly splitBandwidth?: number;
  /** A tile takes as long as one with this many rows, if it has fewer: it has to copy its weights. Defaults to 0. */
  readonly leastRows?: number;
  /** The numbers of rows that a tile can compute, ascending: the fewest that suffice. Defaults to only `rows`. */
  readonly widths?: readonly number[];
  /** Whether the rows of an expert are divided evenly among its tiles. Defaults to `false`. */
  readonly even?: boolean;
}

/** The tile shape of a kernel that copies its weights in boxes; see weight_boxes.ts. */
export interface BoxedTile extends RatedTile {
  /** Depth of a step. */
  readonly boxDepth: number;
  /** Columns of a box. */
  readonly boxColumns: number;
  /** Whether gate and up columns are in different strips of `boxColumns` columns, if they are split. */
  readonly strips: boolean;
}

/** The tile shapes of the kernels of one kind, largest first. */
export type TileFamily = readonly (RatedTile | BoxedTile)[];

/** The tile shapes on tensor cores. Their speeds were measured on an H200. Those on other GPUs are guesses. */
export function tensorTiles(computeCapability: number): TileFamily {
  const shapes = [
    { rows: 256, columns: 128, threads: 256, stages: 4, start: 8, hopper: [1.7, 8.5], other: [1.6, 5.5] },
    { rows: 128, columns: 128, threads: 128, stages: 4, start: 5.5, hopper: [1.6, 27], other: [1.4, 6.3] },
    { rows: 64, columns: 128, threads: 128, stages: 4, start: 3.8, hopper: [1.35, 16.5], other: [1.2, 6.8] },
    { rows: 16, columns: 64, threads: 32, stages: 8, start: 3.6, hopper: [0.39, 22], other: [0.38, 7] },
  ] as const;
  return shapes.map(({ stages, hopper, other, ...shape }) => {
    const [speed, bandwidth] = computeCapability === 90 ? hopper : other;
    // A ring of steps of A and B with a depth of 32 and 2 bytes per element; two stages if copies go through registers.
    const sharedBytes = (computeCapability >= 80 ? stages : 2) * (shape.rows + shape.columns) * 32 * 2;
    return {
      ...shape,
      speed,
      bandwidth,
      splitRows: shape.rows === 16 ? 67 : 277,
      name: `${shape.rows}`,
      sharedBytes,
    };
  });
}

/**
 * The tile shapes on tensor cores that decode packed weights themselves. They spend most of their time on that, however few rows
 * a tile has, and wait less for memory.
 */
export function storedTiles(computeCapability: number): TileFamily {
  return tensorTiles(computeCapability).filter(({ rows }) => rows === 64 || rows === 128).map((shape) => ({
    ...shape,
    ...{ speed: shape.rows === 128 ? 1.3 : 1.2, bandwidth: Infinity, extraRows: 54 },
  }));
}

/** The dynamic shared memory of such a tile for a product with numbers of so many bits, in bytes. */
export function storedBytes({ rows, columns, sharedBytes }: TileShape, bits: 4 | 8): number {
  const stages = sharedBytes / ((rows + columns) * 32 * 2);
  // A ring of steps of A, of packed columns and of their scales; and two steps of decoded columns.
  return stages * (rows * 32 * 2 + columns * (32 * bits / 8 + 8)) + 2 * columns * 32 * 2;
}

/** The tile shapes with Hopper's wgmma; for few rows, one that streams the weights. */
export function hopperTiles(): TileFamily {
  const boxed = { boxDepth: 64, boxColumns: 64, drift: 0.12 };
  return [
    // A ring of 4 steps with a depth of 64, a pointer for each row, two mbarriers for each step; and 8 tickets with mbarriers.
    {
      ...{ name: "wgmma", rows: 192, columns: 256, threads: 512, ...boxed, strips: true },
      ...{
        widths: multiples(16, 192),
        even: true,
        leastRows: 56,
        extraRows: 18,
        speed: 3.24,
        bandwidth: 16.7,
        start: 4.7,
      },
      sharedBytes: 4 * ((192 + 256) * 64 * 2 + 16) + 192 * 8 + 8 * 24,
    },
    ...tensorTiles(90).filter(({ rows }) => rows === 64),
    // A ring of 4 steps with a depth of 128, whose rows of the input have 16 bytes of padding, and two mbarriers for each step;
    // and 6 slots with an mbarrier, a ticket, and the position and the scale of each row.
    {
      ...{
        name: "stream32",
        rows: 32,
        columns: 64,
        threads: 192,
        widths: multiples(8, 32),
        extraRows: 9.2,
        ...boxed,
        strips: false,
      },
      ...{ speed: 0.764, bandwidth: 17.8, splitBandwidth: 15.75, start: 3.2 },
      ...{ streams: true, sharedBytes: 4 * (64 * 128 * 2 + 32 * (128 * 2 + 16) + 16) + 6 * (8 + 32 * 8 + 16) },
    },
  ];
}

/** The multiples of a number up to another. */
function multiples(of: number, most: number): readonly number[] {
  return Array.from({ length: most / of }, (_, i) => (i + 1) * of);
}

/** The tile shapes without tensor cores, in f32. */
export const simtTiles: TileFamily = [
  { rows: 128, columns: 64, threads: 256, speed: 0.11, bandwidth: 8, start: 4 },
  { rows: 16, columns: 64, threads: 128, speed: 0.061, bandwidth: 8, start: 4 },
].map((shape) => ({
  ...shape,
  name: `${shape.rows}`,
  // Two steps with a depth of 16, in f32. Each row has 4 elements of padding, to avoid bank conflicts.
  sharedBytes: 2 * 16 * (shape.rows + shape.columns + 8) * 4,
}));
