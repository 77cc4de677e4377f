// The shapes of the matrix products' tiles, as cuda/gemm.cu and cuda/simt_gemm.cu instantiate them.

/** A tile shape. */
export interface TileShape {
  /** In its kernels' names. */
  readonly name: string;
  /** Rows of a tile. */
  readonly rows: number;
  readonly columns: number;
  readonly threads: number;
  /** Dynamic shared memory of a block. */
  readonly sharedBytes: number;
  /**
   * How fast a multiprocessor full of such tiles multiplies, over how fast it does with the largest. A large tile moves
   * fewer bytes for the same arithmetic.
   */
  readonly efficiency: number;
}

/** The shape of a kernel that copies its weights in boxes: see weight_boxes.ts. */
export interface BoxedTile extends TileShape {
  /** Of a step. */
  readonly boxDepth: number;
  /** Columns of a box, where rows run along them. */
  readonly boxColumns: number;
}

/** The shapes of kernels that compute in one way, largest first. */
export type TileFamily = readonly (TileShape | BoxedTile)[];

/** On tensor cores, for a compute capability. The efficiencies were measured on an H100, but that of 16 rows, which is a guess. */
export function tensorTiles(computeCapability: number): TileFamily {
  const shapes = [
    { rows: 256, columns: 128, threads: 256, stages: 4, efficiency: 1 },
    { rows: 128, columns: 128, threads: 128, stages: 4, efficiency: 0.86 },
    { rows: 64, columns: 128, threads: 128, stages: 4, efficiency: 0.74 },
    { rows: 16, columns: 64, threads: 32, stages: 8, efficiency: 0.24 },
  ];
  return shapes.map(({ stages, ...shape }) => {
    // A ring of steps of A and B, of a depth of 32 in 16 bits each; two where copies pass through registers.
    const sharedBytes = (computeCapability >= 80 ? stages : 2) * (shape.rows + shape.columns) * 32 * 2;
    return { ...shape, name: `${shape.rows}`, sharedBytes };
  });
}

/**
 * By Hopper's wgmma; for fewer rows the general ones. The efficiencies were measured on an H100.
 *
 * @param apart Whether gates and ups lie apart in the rows of weights [in, out]: the general kernels read those in pieces.
 */
export function wgmmaTiles(apart: boolean): TileFamily {
  return [
    // A ring of steps of a depth of 64, a pointer to each row, and two mbarriers for each step.
    ...[{ rows: 256, stages: 4, efficiency: 1 }, { rows: 128, stages: 5, efficiency: 0.9 }].map(
      ({ rows, stages, efficiency }) => ({
        ...{ name: `wgmma${rows}`, rows, columns: 192, threads: 512, efficiency, boxDepth: 64, boxColumns: 64 },
        sharedBytes: stages * ((rows + 192) * 64 * 2 + 16) + rows * 8,
      }),
    ),
    ...[{ rows: 64, efficiency: apart ? 0.38 : 0.55 }, { rows: 16, efficiency: apart ? 0.1 : 0.16 }].map((few) => ({
      ...tensorTiles(90).find(({ rows }) => rows === few.rows)!,
      ...few,
    })),
  ];
}

/** Without tensor cores, in f32. The efficiencies are guesses. */
export const simtTiles: TileFamily = [
  { rows: 128, columns: 64, threads: 256, efficiency: 1 },
  { rows: 16, columns: 64, threads: 128, efficiency: 0.4 },
].map((shape) => ({
  ...shape,
  name: `${shape.rows}`,
  // Two steps of a depth of 16, in f32; rows are 4 further apart than they are long, for the banks' sake.
  sharedBytes: 2 * 16 * (shape.rows + shape.columns + 8) * 4,
}));

/** What {@linkcode chooseTile} weighs. */
export interface TileChoice {
  /** Experts that have rows. */
  readonly experts: number;
  /** The mean of their rows. */
  readonly rows: number;
  /** Whether all have just that many, by their capacity, rather than as chance has it. */
  readonly even: boolean;
  /** Columns of both products together. */
  readonly columns: number;
  /** How many tiles of a shape the GPU computes at once. */
  readonly slots: (shape: TileShape) => number;
}

/**
 * Chooses the shape that is done first. A tile takes as long when it is half empty as when it is full, and the last of the
 * waves in which tiles run as long as the others.
 */
export function chooseTile(
  shapes: readonly TileShape[],
  { experts, rows, even, columns, slots }: TileChoice,
): TileShape {
  const spread = even ? 0 : Math.sqrt(rows);
  const cost = (shape: TileShape) => {
    const rowTiles = [-1, 0, 1].map((sigma) => Math.ceil(Math.max(1, rows + sigma * spread) / shape.rows));
    const tiles = experts * (rowTiles.reduce((sum, count) => sum + count) / 3) * Math.ceil(columns / shape.columns);
    const atOnce = slots(shape);
    return Math.ceil(tiles / atOnce) * atOnce * shape.rows * shape.columns / shape.efficiency;
  };
  const costs = shapes.map(cost);
  return shapes[costs.indexOf(Math.min(...costs))]!;
}
