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

/** The speed of a kind of tile; see {@linkcode RatedTile}. */
interface Rating<Speed> {
  readonly speed: Speed;
  readonly bandwidth: number;
  /** A step takes its time to decode weights, here in rows: f16 takes longer in most formats, because it is widened to f32. */
  readonly extraRows: Readonly<Record<"bf16" | "f16", number>>;
}

/** The speeds of the tile of 16 rows, and of those of 64, 160 and 192 rows; measured on an H200. */
const ratings: Readonly<
  Record<PackedKind, { readonly few: Rating<number>; readonly many: Rating<readonly number[]> }>
> = {
  mxfp4: {
    few: { speed: 2.19, bandwidth: 90, extraRows: { bf16: 27, f16: 39 } },
    many: { speed: [4.14, 3.48, 3.42], bandwidth: 85, extraRows: { bf16: 84, f16: 107 } },
  },
  nvfp4: {
    few: { speed: 1.7, bandwidth: 85, extraRows: { bf16: 29, f16: 47 } },
    many: { speed: [3.47, 3.33, 3.35], bandwidth: 80, extraRows: { bf16: 88, f16: 116 } },
  },
  int4: {
    few: { speed: 2.13, bandwidth: 88, extraRows: { bf16: 22, f16: 22 } },
    many: { speed: [2.6, 2.65, 2.7], bandwidth: 82, extraRows: { bf16: 40, f16: 40 } },
  },
  fp8: {
    few: { speed: 6.76, bandwidth: 46, extraRows: { bf16: 147, f16: 204 } },
    many: { speed: [3, 2.93, 2.95], bandwidth: 44, extraRows: { bf16: 69, f16: 99 } },
  },
};

/** The tile shapes for weights of a format and a dtype of the activations, fewest rows first. */
export function packedTiles(kind: PackedKind, dtype: "bf16" | "f16"): readonly [few: PackedTile, ...PackedTile[]] {
  const { few, many } = ratings[kind];
  const others = [
    { rows: 64, maximumStages: 14, widths: [8, 16, 32, 48, 64] },
    { rows: 160, maximumStages: 8, widths: [96, 128, 144, 160] },
    { rows: 192, maximumStages: 7, widths: [64, 128, 192] },
  ].map(({ rows, maximumStages, widths }, i): PackedTile => {
    const stage = rows * 128 + 3 * largestBlock[kind] + 16;
    const stages = Math.min(maximumStages, Math.floor((227 * 1024 - ticketBytes - 4 * (maximumExperts + 1)) / stage));
    return {
      ...{ rows, columns: 192, widths, resident: 1, name: `${rows}`, start: 3.05, tail: 0.49 },
      ...{ speed: many.speed[i]!, bandwidth: many.bandwidth, extraRows: many.extraRows[dtype] },
      ...{ threads: 512, sharedBytes: stages * stage + ticketBytes },
    };
  });
  // The last tiles of four blocks share a multiprocessor, so that its tail is longer.
  return [{ ...fewTile, ...few, start: 2.9, tail: 2.07, extraRows: few.extraRows[dtype] }, ...others];
}
