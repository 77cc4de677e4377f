// The tiles that are chosen for packed weights on Hopper. Of all tiles that were measured, these are within 4 % of the fastest.
import { assertEquals } from "@std/assert";
import { defaultVariant } from "../../src/contract/experts_options.ts";
import { manifest } from "../../src/cuda/images/built/manifest.ts";
import { planLaunches } from "../../src/cuda/plan/experts.ts";
import { gpus } from "../../src/cuda/plan/gpus.ts";
import type { PackedFormat } from "../../src/tensor/packed_tensor.ts";

const qwen = { hidden: 2048, intermediate: 768, experts: 128, topK: 8 };
const gptOss = { hidden: 2880, intermediate: 2880, experts: 32, topK: 4 };
const few: Choices = { 16: 16, 32: 16, 64: 16 };

/** The rows of the tile for each number of tokens. */
type Choices = Readonly<Record<number, number>>;

const cases: readonly [shape: typeof qwen, format: PackedFormat, choices: Choices][] = [
  [qwen, { kind: "int4", group: 128, integers: "signed", scale: "bf16" }, {
    ...few,
    ...{ 128: 16, 256: 16, 512: 64, 1024: 160, 2048: 160, 4096: 160, 8192: 192 },
  }],
  [qwen, { kind: "fp8", block: [128, 128], scale: "f32" }, {
    ...few,
    ...{ 128: 16, 256: 64, 512: 64, 1024: 160, 2048: 160, 4096: 160 },
  }],
  [qwen, { kind: "fp8", block: [1, 2048], scale: "f32" }, {
    ...few,
    ...{ 128: 16, 256: 64, 512: 64, 1024: 160, 2048: 160, 4096: 160 },
  }],
  [qwen, { kind: "nvfp4", globalScales: 1 }, {
    ...few,
    ...{ 128: 16, 256: 64, 512: 64, 1024: 160, 2048: 160, 4096: 160 },
  }],
  [gptOss, { kind: "mxfp4", exactInF16: true }, {
    ...few,
    ...{ 128: 64, 256: 64, 512: 160, 1024: 160, 2048: 160, 4096: 192 },
  }],
];

for (const [sizes, format, choices] of cases) {
  Deno.test(`packed weights in ${format.kind}: the tiles are those that were fast on an H200`, () => {
    const chosen = Object.keys(choices).map((tokens) => {
      const { tile } = planLaunches(
        {
          ...{ ...defaultVariant, ...sizes, dtype: "bf16", weightLayout: "out-in", tokens: Number(tokens) },
          ...{
            capacity: Infinity,
            denseWeights: false,
            weightsDType: "bf16",
            hasInputWeights: false,
            hasAddend: false,
          },
          formats: { gateUpProj: format, downProj: format },
        },
        gpus.h100!,
        manifest.images.sm_90!.kernels,
      );
      return [tokens, tile.rows];
    });
    assertEquals(Object.fromEntries(chosen), choices);
  });
}
