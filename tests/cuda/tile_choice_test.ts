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
    1: { one: 15, two: 13.5 },
    16: { one: 32.8, two: 31.2, 64: 39.5, 128: 44.2 },
    64: { one: 38.9, two: 35.9, 64: 40.6, 128: 43.8, 256: 50 },
    96: { one: 42.3, two: 40.9, 64: 41.3, 128: 44.3, 256: 50.3 },
    128: { one: 46.8, two: 47.8, 64: 41.8, 128: 45, 256: 51.1 },
    192: { one: 58.7, two: 60.3, 64: 46.3, 128: 46, 256: 52.1 },
    256: { one: 70, two: 70.7, 64: 49.3, 128: 50.8, 256: 55.5 },
    512: { 64: 75.3, 128: 62.8, 256: 62 },
    1024: { 64: 110, 128: 86.6, 256: 91.9 },
    4096: { 128: 239, 256: 226 },
  }],
  ["qwen3-30b-a3b", { hidden: 2048, intermediate: 768, experts: 128, topK: 8 }, {
    1: { one: 28.5, two: 25.3 },
    16: { one: 172, two: 174, 64: 208, 128: 194, 256: 208 },
    256: { one: 304, two: 306, 64: 319, 128: 302, 256: 316 },
    512: { one: 381, two: 450, 64: 332, 128: 314, 256: 328 },
    1024: { 64: 400, 128: 336, 256: 352 },
    2048: { 128: 424, 256: 408 },
    8192: { 128: 1186, 256: 1113 },
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
    1: { one: 55.3, two: 54.7, 64: 80 },
    2: { one: 89.3, two: 91.6, 64: 106, 128: 126 },
    64: { one: 362, two: 369, 64: 379, 128: 376, 256: 392 },
    256: { one: 473, two: 542, 64: 391, 128: 387, 256: 397 },
    1024: { 128: 512, 256: 464 },
    2048: { 128: 824, 256: 819 },
  }],
  ["mixtral-8x7b", { hidden: 4096, intermediate: 14336, experts: 8, topK: 2 }, {
    1: { one: 171, two: 170, 128: 243 },
    64: { one: 659, two: 676, 64: 715, 128: 674, 256: 711 },
    256: { 64: 856, 128: 732, 256: 755 },
    1024: { 128: 1391, 256: 1410 },
    2048: { 128: 2405, 256: 2508 },
  }],
  ["8 small experts", { hidden: 1024, intermediate: 512, experts: 8, topK: 2 }, {
    1: { one: 10.5, two: 9.8 },
    64: { one: 20.3, two: 16.7, 128: 23.1 },
    128: { one: 27.7, two: 21, 64: 27.3, 128: 23.3, 256: 26.7 },
    256: { one: 29.4, two: 32.6, 64: 28.3, 128: 26.6, 256: 28.7 },
    512: { 64: 32.9, 128: 27.7, 256: 34.4 },
    1024: { 64: 44.4, 128: 31.5, 256: 43.8 },
  }],
  ["8 experts, top 1", { hidden: 1024, intermediate: 4096, experts: 8, topK: 1 }, {
    16: { one: 50.1, two: 48.1, 128: 69.3 },
    64: { one: 60.9, two: 56.6, 128: 69.5, 256: 81.1 },
    128: { one: 70.3, two: 65, 64: 90.7, 128: 69.4, 256: 79.5 },
    256: { one: 88.2, two: 87.4, 64: 91.8, 128: 70.2, 256: 79.7 },
    1024: { 64: 130, 128: 93.6, 256: 105 },
    2048: { 128: 118, 256: 148 },
    4096: { 128: 213, 256: 207 },
  }],
  ["16 experts, split columns", { hidden: 5120, intermediate: 8192, experts: 16, topK: 1, weightLayout: "in-out" }, {
    1: { one: 77.4, two: 68 },
    64: { one: 981, two: 905, 128: 981, 256: 1037 },
    256: { one: 1028, two: 969, 128: 950, 256: 968 },
    512: { one: 1406, 128: 952, 256: 977 },
    2048: { 128: 1243, 256: 1095 },
  }],
  ["64 experts, split columns", { hidden: 2880, intermediate: 1440, experts: 64, topK: 4, weightLayout: "in-out" }, {
    16: { one: 250, two: 258, 128: 268, 256: 281 },
    64: { one: 390, two: 388, 128: 388, 256: 412 },
    256: { one: 432, two: 435, 128: 394, 256: 410 },
    1024: { 128: 422, 256: 431 },
    4096: { 128: 823, 256: 791 },
  }],
  ["llama-4-maverick", { hidden: 5120, intermediate: 8192, experts: 128, topK: 1, weightLayout: "in-out" }, {
    1: { one: 76.5, two: 69.4 },
    64: { one: 3610, two: 2980, 128: 3228, 256: 3293 },
    1024: { one: 9134, two: 8461, 128: 7617, 256: 7674 },
    32768: { 128: 18091, 256: 18649 },
  }],
  ["256 experts", { hidden: 2048, intermediate: 512, experts: 256, topK: 8 }, {
    1: { one: 25.3, two: 21.9 },
    64: { one: 325, two: 320, 64: 360, 128: 349, 256: 381 },
    512: { one: 430, two: 409, 64: 431, 128: 404, 256: 431 },
    1024: { one: 531, two: 632, 64: 450, 128: 423, 256: 446 },
    4096: { 64: 836, 128: 621, 256: 579 },
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
    1: { one: 63.7, two: 59.9, 64: 87.4 },
    8: { one: 195, two: 204, 64: 253, 128: 230, 256: 250 },
    160: { one: 348, 64: 280, 128: 244, 256: 253 },
    320: { 128: 281, 256: 282 },
    640: { 128: 415, 256: 371 },
    2560: { 128: 1252, 256: 1212 },
  }],
  ["8 experts, top 6", { hidden: 3072, intermediate: 768, experts: 8, topK: 6 }, {
    2: { one: 37.3, two: 32.1 },
    24: { one: 44.3, two: 40.5, 64: 55.6, 128: 44.6, 256: 49.6 },
    160: { 64: 68.5, 128: 52.3, 256: 56.3 },
    320: { 128: 64.9, 256: 78.9 },
    640: { 128: 103, 256: 101 },
  }],
  ["24 experts, short down", { hidden: 3456, intermediate: 448, experts: 24, topK: 2 }, {
    8: { one: 40.5, two: 35.7, 128: 52 },
    118: { one: 64.4, two: 67.7, 64: 82.5, 128: 71.3, 256: 75.4 },
    253: { one: 73.5, two: 83.8, 64: 85.9, 128: 76.3, 256: 78.8 },
  }],
  ["72 experts, short down", { hidden: 3712, intermediate: 448, experts: 72, topK: 8 }, {
    1: { one: 33.3, two: 28 },
    2: { one: 48.2, two: 42.6 },
  }],
  ["160 experts", { hidden: 7168, intermediate: 1024, experts: 160, topK: 8 }, {
    1: { one: 90.5, two: 88, 64: 131, 128: 131 },
    64: { one: 1525, two: 1548, 64: 1754, 128: 1596, 256: 1681 },
    300: { one: 1645, two: 1701, 64: 1851, 128: 1698, 256: 1758 },
    1000: { 64: 1984, 128: 1774, 256: 1826 },
    3000: { 128: 2984, 256: 2537 },
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
