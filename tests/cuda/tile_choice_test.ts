// The tiles that are chosen on Hopper take at most 5 % longer than the fastest of those that were measured on an H200.
import { assertLessOrEqual } from "@std/assert";
import { defaultVariant } from "../../src/contract/experts_options.ts";
import type { ResolvedExperts } from "../../src/contract/resolve_experts.ts";
import { denseFormats } from "../../src/contract/weights.ts";
import { manifest } from "../../src/cuda/images/built/manifest.ts";
import { planLaunches } from "../../src/cuda/plan/experts.ts";
import { gpus } from "../../src/cuda/plan/gpus.ts";
import { isStreamTile } from "../../src/cuda/plan/stream.ts";
import type { PackedFormat } from "../../src/tensor/packed_tensor.ts";

type Shape = Pick<ResolvedExperts, "hidden" | "intermediate" | "experts" | "topK"> & Partial<ResolvedExperts> & {
  readonly format?: PackedFormat;
};

/** Microseconds of a layer by the rows of the tile, or by the launches of the kernel that streams the weights. */
type Times = Readonly<Partial<Record<number | "one" | "two", number>>>;

const format = { kind: "int4", group: 128, integers: "offset", scale: "f32" } as const;

/** Layers, and their times by the number of tokens. Tiles that take 1.5 times as long as the fastest are left out. */
const layers: readonly [name: string, shape: Shape, times: Readonly<Record<number, Times>>][] = [
  ["granite-3.0-1b", { hidden: 1024, intermediate: 512, experts: 32, topK: 8 }, {
    1: { one: 15.8, two: 13.6 },
    16: { one: 32.9, two: 31.4, 64: 40.1, 192: 39.5 },
    64: { one: 38.5, two: 35.7, 64: 41.4, 192: 40.9 },
    96: { one: 42.2, two: 40.4, 64: 41.9, 192: 42 },
    128: { one: 46.8, two: 47.6, 64: 42.6, 192: 43.4 },
    192: { one: 58.4, two: 60.8, 64: 47.6, 192: 44.8 },
    256: { one: 69.4, two: 70.5, 64: 50.1, 192: 47.2 },
    512: { 64: 76.2, 192: 53.9 },
    1024: { 64: 111, 192: 75.5 },
    4096: { 192: 210 },
  }],
  ["qwen3-30b-a3b", { hidden: 2048, intermediate: 768, experts: 128, topK: 8 }, {
    1: { one: 28.6, two: 25.4 },
    16: { one: 179, two: 182, 64: 220, 192: 199 },
    256: { one: 305, two: 310, 64: 331, 192: 314 },
    512: { one: 384, two: 466, 64: 344, 192: 326 },
    1024: { 64: 417, 192: 348 },
    2048: { 192: 388 },
    8192: { 192: 1069 },
  }],
  ["gpt-oss-20b", {
    hidden: 2880,
    intermediate: 2880,
    experts: 32,
    topK: 4,
    activation: "swiglu-oai",
    gateUpLayout: "interleaved",
    weightLayout: "in-out",
  }, {
    1: { one: 56.4, two: 55.8, 192: 73.4 },
    2: { one: 93.4, two: 95.6, 64: 110, 192: 110 },
    64: { one: 372, two: 383, 64: 388, 192: 376 },
    256: { one: 484, 64: 401, 192: 392 },
    1024: { 192: 455 },
    2048: { 192: 726 },
  }],
  ["mixtral-8x7b", { hidden: 4096, intermediate: 14336, experts: 8, topK: 2 }, {
    1: { one: 174, two: 177, 192: 229 },
    64: { one: 665, two: 677, 64: 743, 192: 680 },
    256: { 64: 866, 192: 716 },
    1024: { 192: 1162 },
    2048: { 192: 2201 },
  }],
  ["8 small experts", { hidden: 1024, intermediate: 512, experts: 8, topK: 2 }, {
    1: { one: 10.5, two: 10 },
    64: { one: 20.7, two: 16.9, 192: 23.7 },
    128: { one: 28, two: 21.1, 64: 27.4, 192: 25.4 },
    256: { one: 29.4, two: 32.8, 64: 28.2, 192: 28.2 },
    512: { 64: 32.8, 192: 36 },
    1024: { 64: 44.5, 192: 39 },
  }],
  ["8 experts, top 1", { hidden: 1024, intermediate: 4096, experts: 8, topK: 1 }, {
    16: { one: 51.2, two: 49.1, 192: 67.6 },
    64: { one: 61.5, two: 57, 192: 73.4 },
    128: { one: 70.3, two: 64.3, 64: 91.7, 192: 75.2 },
    256: { one: 89, two: 87.6, 64: 93.2, 192: 78.5 },
    1024: { 64: 134, 192: 107 },
    2048: { 192: 126 },
    4096: { 192: 192 },
  }],
  ["16 experts, split columns", { hidden: 5120, intermediate: 8192, experts: 16, topK: 1, weightLayout: "in-out" }, {
    1: { one: 75.9, two: 71.5 },
    64: { one: 1092, two: 935, 192: 917 },
    256: { one: 1099, two: 990, 192: 924 },
    512: { one: 1293, 192: 934 },
    2048: { 192: 1035 },
  }],
  ["64 experts, split columns", { hidden: 2880, intermediate: 1440, experts: 64, topK: 4, weightLayout: "in-out" }, {
    16: { one: 273, two: 264, 192: 253 },
    64: { one: 420, two: 396, 192: 380 },
    256: { one: 442, two: 448, 192: 396 },
    1024: { 192: 427 },
    4096: { 192: 746 },
  }],
  ["256 experts", { hidden: 2048, intermediate: 512, experts: 256, topK: 8 }, {
    1: { one: 29.2, two: 22.9 },
    64: { one: 329, two: 328, 64: 373, 192: 348 },
    512: { one: 435, two: 416, 64: 447, 192: 419 },
    1024: { one: 542, 64: 466, 192: 435 },
    4096: { 192: 539 },
  }],
  ["12 experts, f16", {
    hidden: 5120,
    intermediate: 2560,
    experts: 12,
    topK: 3,
    dtype: "f16",
    activation: "swiglu-oai",
    gateUpLayout: "interleaved",
    weightLayout: "in-out",
  }, {
    1: { one: 63.2, two: 59.9, 64: 87.7, 192: 84.6 },
    8: { one: 205, two: 213, 64: 256, 192: 219 },
    160: { one: 341, 64: 284, 192: 240 },
    320: { 192: 249 },
    640: { 192: 305 },
    2560: { 192: 1005 },
  }],
  ["8 experts, top 6", { hidden: 3072, intermediate: 768, experts: 8, topK: 6 }, {
    2: { one: 39.4, two: 32.4, 192: 47.4 },
    24: { one: 45.4, two: 40.7, 64: 55.8, 192: 48.7 },
    160: { 64: 69.4, 192: 63 },
    320: { 64: 105, 192: 77.2 },
    640: { 64: 184, 192: 144 },
  }],
  ["24 experts, short down", { hidden: 3456, intermediate: 448, experts: 24, topK: 2 }, {
    8: { one: 42.2, two: 34.8, 192: 48.9 },
    118: { one: 64.7, two: 68.5, 64: 82.9, 192: 72.9 },
    253: { one: 73.5, two: 84.2, 64: 86.3, 192: 76.8 },
  }],
  ["72 experts, short down", { hidden: 3712, intermediate: 448, experts: 72, topK: 8 }, {
    1: { one: 37.2, two: 27.8 },
    2: { one: 48.1, two: 42.6, 192: 58.3 },
  }],
  ["160 experts", { hidden: 7168, intermediate: 1024, experts: 160, topK: 8 }, {
    1: { one: 89.5, two: 87.1, 64: 129, 192: 115 },
    64: { one: 1533, two: 1550, 64: 1733, 192: 1608 },
    300: { one: 1640, two: 1694, 64: 1835, 192: 1692 },
    1000: { 64: 1976, 192: 1792 },
    3000: { 192: 2167 },
  }],
  ["GELU", { hidden: 1024, intermediate: 512, experts: 32, topK: 8, activation: "gelu-tanh" }, {
    1: { 16: 22.8, 64: 27.9, 128: 33.3 },
    16: { 16: 39, 64: 40.1, 128: 46.9 },
    64: { 16: 51.7, 64: 40.9, 128: 47.1 },
    256: { 64: 48, 128: 50.1 },
    1024: { 64: 111, 128: 126, 256: 130 },
  }],
  ["squared ReLU without a gate", {
    hidden: 2688,
    intermediate: 1856,
    experts: 128,
    topK: 6,
    activation: "relu2",
    gated: false,
  }, {
    1: { 16: 46.4, 64: 60.3, 128: 69.6 },
    64: { 16: 599, 64: 607, 128: 741 },
    256: { 16: 658, 64: 643, 128: 784 },
    1024: { 64: 689, 128: 818 },
    2048: { 64: 1009, 128: 868 },
  }],
  ["GELU, split columns", {
    hidden: 2048,
    intermediate: 1024,
    experts: 16,
    topK: 2,
    activation: "gelu",
    weightLayout: "in-out",
  }, {
    1: { 16: 29.3 },
    200: { 64: 96.5, 128: 103, 256: 140 },
    800: { 128: 112, 256: 146 },
    1600: { 128: 209, 256: 157 },
    3200: { 128: 397, 256: 306 },
  }],
  ["f32", { hidden: 1024, intermediate: 512, experts: 32, topK: 8, dtype: "f32" }, {
    1: { 16: 87.1, 128: 129 },
    16: { 16: 130 },
    64: { 16: 202 },
    256: { 16: 488, 128: 451 },
  }],
  ["int4 with f32 scales, decoded by the general kernels", {
    hidden: 1024,
    intermediate: 512,
    experts: 32,
    topK: 8,
    format,
  }, {
    1: { 64: 45.2, 128: 53.2 },
    64: { 64: 57.7, 128: 68.5 },
    256: { 64: 73.4, 128: 71 },
  }],
];

for (const [name, { format, ...shape }, times] of layers) {
  Deno.test(`${name}: the chosen tiles are within 5 % of the fastest`, () => {
    for (const [tokens, measured] of Object.entries(times)) {
      const dtype = shape.dtype ?? "bf16";
      const { tile, launches } = planLaunches(
        {
          ...{ ...defaultVariant, activation: "silu", gateUpLayout: "concatenated", weightLayout: "out-in", dtype },
          ...{ capacity: Infinity, denseWeights: false, weightsDType: dtype, hasInputWeights: false, hasAddend: false },
          ...{ formats: format ? { gateUpProj: format, downProj: format } : denseFormats(dtype), ...shape },
          tokens: Number(tokens),
        },
        gpus.h200!,
        manifest.images.sm_90!.kernels,
      );
      const products = launches.filter(({ kernel }) => kernel.startsWith("stream")).length;
      const chosen = !isStreamTile(tile) ? tile.rows : products === 1 ? "one" : "two";
      const best = Math.min(...Object.values(measured).filter((time) => time !== undefined));
      assertLessOrEqual(measured[chosen] ?? Infinity, 1.05 * best, `${tokens} tokens: ${chosen}`);
    }
  });
}
