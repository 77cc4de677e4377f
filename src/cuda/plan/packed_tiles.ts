// The tiles of the products with packed weights on Hopper, as cuda/packed.cu and cuda/packed_few.cuh instantiate them.
import { maximumExperts } from "../../contract/limits.ts";
import type { PackedFormat } from "../../tensor/packed_tensor.ts";
import { fewTile } from "./packed_few.ts";
import { largestBlock } from "./packed_layout.ts";
import type { RatedTile } from "./tiles.ts";

type PackedKind = PackedFormat["kind"];

/** A tile shape for packed weights. */
export interface PackedTile extends RatedTile {
  /** Blocks that share a multiprocessor. */
  readonly resident: number;
}

/** The bytes of the tickets of a block. */
export const ticketBytes = 16 * 40;

type Rating = Pick<RatedTile, "speed" | "bandwidth" | "start" | "extraRows">;

/** The speeds, measured on an H200. A step takes its constant time, here in rows, to decode its weights. */
const ratings: Readonly<Record<PackedKind, { readonly few: Rating; readonly many: Rating }>> = {
  mxfp4: {
    few: { speed: 2.16, bandwidth: 44, start: 3, extraRows: 36 },
    many: { speed: 3.6, bandwidth: 44, start: 6, extraRows: 79 },
  },
  nvfp4: {
    few: { speed: 1.32, bandwidth: 42, start: 3, extraRows: 34 },
    many: { speed: 2.8, bandwidth: 42, start: 6, extraRows: 98 },
  },
  int4: {
    few: { speed: 1.95, bandwidth: 42, start: 3, extraRows: 32 },
    many: { speed: 2.8, bandwidth: 42, start: 6, extraRows: 75 },
  },
  fp8: {
    few: { speed: 5.1, bandwidth: 23, start: 3, extraRows: 160 },
    many: { speed: 2.9, bandwidth: 23, start: 6, extraRows: 102 },
  },
};

/** The tile shapes for weights of a format, fewest rows first. */
export function packedTiles(kind: PackedKind): readonly [few: PackedTile, ...PackedTile[]] {
  const { few, many } = ratings[kind];
  const others = [
    { rows: 64, maximumStages: 14, widths: [8, 16, 32, 48, 64] },
    { rows: 160, maximumStages: 8, widths: [96, 128, 144, 160] },
    { rows: 192, maximumStages: 7, widths: [64, 128, 192] },
  ].map(({ rows, maximumStages, widths }): PackedTile => {
    const stage = rows * 128 + 3 * largestBlock[kind] + 16;
    const stages = Math.min(maximumStages, Math.floor((227 * 1024 - ticketBytes - 4 * (maximumExperts + 1)) / stage));
    return {
      ...{ rows, columns: 192, widths, resident: 1, name: `${rows}`, balanced: true, ...many },
      ...{ threads: 512, sharedBytes: stages * stage + ticketBytes },
    };
  });
  return [{ ...fewTile, ...few, balanced: true }, ...others];
}
