// The tiles that are chosen for packed weights on Hopper take at most 5 % longer than the fastest of those that were measured on an
// H200.
import { assertLessOrEqual } from "@std/assert";
import { defaultVariant } from "../../src/contract/experts_options.ts";
import type { ResolvedExperts } from "../../src/contract/resolve_experts.ts";
import { manifest } from "../../src/cuda/images/built/manifest.ts";
import { planLaunches } from "../../src/cuda/plan/experts.ts";
import { gpus } from "../../src/cuda/plan/gpus.ts";
import type { PackedFormat } from "../../src/tensor/packed_tensor.ts";

type Shape = Pick<ResolvedExperts, "dtype" | "hidden" | "intermediate" | "experts" | "topK"> & {
  readonly gateUpLayout?: "concatenated";
};

const fp8: PackedFormat = { kind: "fp8", block: [128, 128], scale: "f32" };
const mxfp4: PackedFormat = { kind: "mxfp4", exactInF16: true };
const nvfp4: PackedFormat = { kind: "nvfp4", globalScales: 1 };
const int4 = (group: number): PackedFormat => ({ kind: "int4", group, integers: "offset", scale: "bf16" });

/**
 * Layers, and their microseconds by the number of tokens and the rows of the tile. Tiles that take 1.5 times as long as the fastest
 * are left out.
 */
const layers: readonly [
  format: PackedFormat,
  shape: Shape,
  times: Readonly<Record<number, Readonly<Record<number, number>>>>,
][] = [
  [fp8, { dtype: "bf16", hidden: 1152, intermediate: 3712, experts: 26, topK: 8, gateUpLayout: "concatenated" }, {
    3: { 16: 62.4, 64: 66.1, 192: 90.2 },
    12: { 16: 89.6, 64: 103 },
    55: { 16: 132, 64: 118, 160: 176, 192: 148 },
    467: { 64: 319, 160: 249, 192: 273 },
    5777: { 160: 2350, 192: 2170 },
  }],
  [fp8, { dtype: "bf16", hidden: 1408, intermediate: 4736, experts: 25, topK: 8 }, {
    5: { 16: 111, 64: 132 },
    37: { 16: 142, 64: 155, 192: 200 },
    157: { 64: 198, 160: 251, 192: 213 },
    1381: { 64: 1330, 160: 925, 192: 938 },
    4285: { 160: 2670, 192: 2480 },
  }],
  [fp8, { dtype: "f16", hidden: 5120, intermediate: 512, experts: 8, topK: 3 }, {
    4: { 16: 34.5 },
    29: { 16: 47.8, 64: 56.1, 192: 68.7 },
    58: { 16: 72.7, 64: 58.8, 160: 80.5, 192: 69.8 },
    397: { 64: 125, 160: 114, 192: 121 },
    13541: { 160: 1710, 192: 1630 },
  }],
  [fp8, { dtype: "f16", hidden: 896, intermediate: 2048, experts: 32, topK: 8, gateUpLayout: "concatenated" }, {
    4: { 16: 45.9, 64: 51.7 },
    9: { 16: 57.4, 64: 72.2 },
    92: { 16: 117, 64: 90.4, 160: 127, 192: 110 },
    386: { 64: 174, 160: 146, 192: 155 },
    11754: { 160: 2530, 192: 2380 },
  }],
  [int4(128), { dtype: "bf16", hidden: 4992, intermediate: 2304, experts: 20, topK: 3 }, {
    2: { 16: 45.5, 64: 51.2 },
    9: { 16: 71.9, 64: 86.8 },
    213: { 16: 250, 64: 199, 160: 285, 192: 245 },
    713: { 64: 436, 160: 351, 192: 363 },
    10786: { 64: 5470, 160: 4170, 192: 3730 },
  }],
  [int4(128), { dtype: "bf16", hidden: 1024, intermediate: 1280, experts: 37, topK: 7, gateUpLayout: "concatenated" }, {
    2: { 16: 21.6, 64: 21.9 },
    27: { 16: 31.2, 64: 37.6 },
    166: { 16: 64.4, 64: 60.2, 160: 82.3, 192: 68.2 },
    398: { 16: 126, 64: 101, 160: 88.6, 192: 100 },
    11513: { 64: 1730, 160: 1330, 192: 1330 },
  }],
  [int4(32), { dtype: "bf16", hidden: 1024, intermediate: 4096, experts: 31, topK: 4 }, {
    1: { 16: 31.5, 64: 30.7 },
    17: { 16: 58.5, 64: 77.4 },
    293: { 16: 186, 64: 145, 160: 202, 192: 168 },
    1042: { 64: 348, 160: 278, 192: 299 },
    7340: { 64: 2050, 160: 1520, 192: 1430 },
  }],
  [int4(32), { dtype: "bf16", hidden: 2176, intermediate: 384, experts: 20, topK: 6 }, {
    6: { 16: 20.9, 64: 21.3 },
    19: { 16: 21.9, 64: 21.7 },
    75: { 16: 33.3, 64: 31.1, 160: 40.6, 192: 35 },
    1166: { 64: 139, 160: 134, 192: 135 },
    4707: { 64: 479, 160: 405, 192: 383 },
  }],
  [mxfp4, { dtype: "bf16", hidden: 2944, intermediate: 6400, experts: 47, topK: 7, gateUpLayout: "concatenated" }, {
    2: { 16: 112, 64: 147 },
    21: { 16: 338, 64: 429 },
    335: { 64: 730, 160: 933, 192: 827 },
    1688: { 64: 3220, 160: 2360, 192: 2440 },
    5958: { 160: 7480, 192: 7050 },
  }],
  [mxfp4, { dtype: "bf16", hidden: 1792, intermediate: 896, experts: 47, topK: 5, gateUpLayout: "concatenated" }, {
    3: { 16: 21.9, 64: 25.4 },
    17: { 16: 36.4, 64: 48.8 },
    169: { 16: 78.1, 64: 68.1, 192: 90.7 },
    2144: { 64: 308, 160: 265, 192: 271 },
    11703: { 64: 1520, 160: 1150, 192: 1120 },
  }],
  [mxfp4, { dtype: "f16", hidden: 2560, intermediate: 3584, experts: 17, topK: 3, gateUpLayout: "concatenated" }, {
    1: { 16: 38.3, 64: 43.1 },
    12: { 16: 86, 64: 119 },
    237: { 64: 163, 160: 212, 192: 176 },
    461: { 64: 295, 160: 227, 192: 234 },
    4872: { 160: 1550, 192: 1420 },
  }],
  [mxfp4, { dtype: "f16", hidden: 1920, intermediate: 3968, experts: 9, topK: 2, gateUpLayout: "concatenated" }, {
    1: { 16: 30.8, 64: 41.7 },
    36: { 16: 60.4, 64: 68.3, 192: 88.1 },
    104: { 16: 103, 64: 73.3, 160: 107, 192: 88.8 },
    854: { 64: 247, 160: 238, 192: 184 },
    12978: { 160: 2090, 192: 1970 },
  }],
  [nvfp4, { dtype: "bf16", hidden: 1280, intermediate: 2560, experts: 50, topK: 8 }, {
    1: { 16: 38.3, 64: 37.4, 192: 54 },
    8: { 16: 75.6, 64: 89.8 },
    126: { 16: 203, 64: 160, 160: 239, 192: 203 },
    464: { 64: 307, 160: 250, 192: 276 },
    11170: { 160: 3600, 192: 3330 },
  }],
  [nvfp4, { dtype: "bf16", hidden: 5760, intermediate: 1152, experts: 9, topK: 7 }, {
    5: { 16: 50.5, 64: 57.4 },
    25: { 64: 69.7, 160: 98.8, 192: 84.8 },
    81: { 64: 98.1, 160: 105, 192: 110 },
    350: { 64: 321, 160: 244, 192: 260 },
    4734: { 160: 2610, 192: 2420 },
  }],
  [nvfp4, { dtype: "f16", hidden: 5248, intermediate: 1152, experts: 38, topK: 2, gateUpLayout: "concatenated" }, {
    2: { 16: 44.2, 64: 57.5 },
    42: { 16: 160, 64: 221 },
    190: { 16: 200, 64: 245 },
    888: { 64: 308, 160: 372, 192: 344 },
    6465: { 160: 1240, 192: 1020 },
  }],
  [nvfp4, { dtype: "f16", hidden: 1792, intermediate: 6784, experts: 55, topK: 4 }, {
    6: { 16: 209, 64: 255 },
    42: { 16: 467, 64: 602 },
    109: { 16: 519, 64: 635 },
    2310: { 160: 2100, 192: 1560 },
    3429: { 64: 3520, 160: 2430, 192: 2480 },
  }],
];

for (const [format, shape, times] of layers) {
  const { dtype, hidden, intermediate, experts, gateUpLayout } = shape;
  const name = `${experts} experts, ${hidden} by ${intermediate}, ${format.kind}, ${dtype}`;
  Deno.test(`${name}: the chosen tiles are within 5 % of the fastest`, () => {
    for (const [tokens, measured] of Object.entries(times)) {
      const { tile } = planLaunches(
        {
          ...{ ...defaultVariant, ...shape, weightLayout: "out-in", tokens: Number(tokens) },
          ...{ capacity: Infinity, denseWeights: false, weightsDType: dtype, hasInputWeights: false, hasAddend: false },
          formats: { gateUpProj: { ...format, ...gateUpLayout && { gateUpLayout } }, downProj: format },
        },
        gpus.h200!,
        manifest.images.sm_90!.kernels,
      );
      const best = Math.min(...Object.values(measured));
      assertLessOrEqual(measured[tile.rows] ?? Infinity, 1.05 * best, `${tokens} tokens: ${tile.rows}`);
    }
  });
}
