// Evaluates the largest index expressions of every kernel, without overflow, for the largest launches that the plans allow.
import { assert, assertEquals, assertLess } from "@std/assert";
import { defaultVariant } from "../../src/contract/experts_options.ts";
import { maximumExperts, maximumItems, maximumTopK } from "../../src/contract/limits.ts";
import type { ResolvedExperts } from "../../src/contract/resolve_experts.ts";
import { denseFormats } from "../../src/contract/weights.ts";
import type { KernelLaunch } from "../../src/cuda/driver/kernel.ts";
import { manifest } from "../../src/cuda/images/built/manifest.ts";
import { planLaunches } from "../../src/cuda/plan/experts.ts";
import { gpus } from "../../src/cuda/plan/gpus.ts";
import { findLayout, planLayout } from "../../src/cuda/plan/packed_layout.ts";
import type { PlanDevice } from "../../src/cuda/plan/product.ts";
import { planLinear, planRoute } from "../../src/cuda/plan/router.ts";
import { planCombine, planItems, planProduct, planSort } from "../../src/cuda/plan/steps.ts";
import { resolveRouter } from "../../src/routing/router.ts";
import type { PackedFormat } from "../../src/tensor/packed_tensor.ts";

/** An expression of a kernel, and the bits of its type without the sign. */
type Expressions = Readonly<Record<string, readonly [value: bigint, bits: 31 | 32 | 63]>>;

/** The numbers of a launch. */
type Numbers = Readonly<Record<string, bigint>>;

const product = (a: Numbers): Expressions => ({
  // A tile has at most 256 rows and 192 columns, and a step at most 256 of the depth.
  "index += gridDim.x": [a.tiles! + a.blocks!, 31],
  "width + kBN - 1": [a.columnsWidth! + 192n, 31],
  "at.column + kBN": [a.columnsWidth! + 2n * 192n, 31],
  "k += kBK": [a.depth! + 2n * 256n, 31],
  "at.row + kBM": [BigInt(maximumItems) + 256n, 31],
  "expert * width + column": [a.experts! * a.columnsWidth! + 192n, 32],
  "kRaster * column_tiles": [16n * (a.columnsWidth! / 64n + 1n), 31],
  ...a.weightsScaleColumns && {
    "first_scale(…) + depth / scale_columns": [
      a.experts! * (a.columnsWidth! / a.weightsScaleRows! + 1n) * (a.depth! / a.weightsScaleColumns),
      31,
    ],
    "row * depth": [a.experts! * a.columnsWidth! * a.depth!, 63],
  },
});

const blocks = (a: Numbers): Expressions => ({
  // Three strips of 64 rows are neighbours.
  "strip * kBlockRows + row": [a.width! + 2n * 192n, 31],
  "step * kBlockDepth + depth": [a.depth! + 2n * 64n, 31],
  "expert * width + source_row": [(BigInt(maximumExperts) + 1n) * a.width!, 63],
});

const packedProduct = (a: Numbers): Expressions => ({
  // A tile has at most 192 rows and 192 columns.
  "index += gridDim.x": [a.tiles! + a.blocks!, 31],
  ...a.productWidth
    ? {
      "width + kStrips * kBlockRows": [a.productWidth + 192n, 31],
      "depth + kBlockDepth": [a.productDepth! + 64n, 31],
    }
    : {
      "width + kStrips * kBlockRows": [a.gateUpWidth! + a.downWidth! + 2n * 192n, 31],
      "depth + kBlockDepth": [a.gateUpDepth! + a.downDepth! + 64n, 31],
      "tickets of a launch": [a.tiles! + 2n * a.blocks!, 31],
    },
  "at.row + kMaxRows": [BigInt(maximumItems) + 192n, 31],
});

const selectRows = (a: Numbers): Expressions => ({
  "row += row_step()": [a.rows! + a.blocks! * 8n, 31],
  "first_item()": [a.blocks! * 256n, 31],
  "i += 32": [a.units! + 64n, 31],
  "index * units": [a.sourceRows! * a.units!, 63],
});

/** The largest values of index expressions in cuda/, by the beginning of kernels' names. */
const expressions: Readonly<Record<string, (a: Numbers) => Expressions>> = {
  sort_small: (a) => ({
    "(warp * sets + s) * 32 + lane": [32n * 5n * 32n, 31],
    "warp * stride": [32n * (a.experts! + 8n), 31],
    "kept << 16": [a.n! << 16n, 31],
    "kept + tile_rows - 1": [a.n! + a.tileRows!, 31],
  }),
  sort_histogram: (a) => ({
    "begin + chunk": [a.blocks! * a.chunk! + 256n, 31],
    "e * gridDim.x + blockIdx.x": [a.experts! * a.blocks!, 31],
  }),
  sort_scan: (a) => ({
    "e * blocks + b": [a.experts! * a.blocks! + 32n, 31],
    "rows + tile_rows - 1": [a.capacity! + a.tileRows!, 31],
    "the sum of all tiles": [BigInt(maximumItems) + a.experts!, 31],
  }),
  sort_rank: (a) => ({
    "(blockIdx.x + 1) * chunk": [a.blocks! * a.chunk! + 32n, 31],
    "w * experts + e": [8n * a.experts!, 31],
    "e * gridDim.x + blockIdx.x": [a.experts! * a.blocks!, 31],
  }),
  gated: product,
  plain: product,
  stream32: (a) => ({
    "count + gridDim.x": [a.tiles! + 2n * a.blocks!, 31],
    "width + kBN - 1": [(a.gateUpWidth! > a.hidden! ? a.gateUpWidth! : a.hidden!) + 64n, 31],
    "k += kBK": [(a.hidden! > a.intermediate! ? a.hidden! : a.intermediate!) + 2n * 128n, 31],
    "at.row + kBM": [BigInt(maximumItems) + 32n, 31],
    "rows << 16": [a.assignments! << 16n, 31],
  }),
  simt: product,
  combine: (a) => ({
    "blockIdx.x * 4 + threadIdx.x / 32": [a.blocks! * 4n, 32],
    "first + warps * kParts * kPart": [a.width! + a.warps! * 2n * 32n * a.elements!, 31],
    "t * weight_columns": [a.tokens! * a.weightColumns!, 63],
    "row * width": [BigInt(maximumItems) * a.width!, 63],
  }),
  linear: (a) => ({
    "token + kTokens": [a.tokens! + 2n * 32n, 31],
    "column + kColumns": [a.columns! + 2n * 64n, 31],
    "base += kSteps * kStep": [a.depth! + 2n * 8n * 256n, 31],
    "t * columns": [a.tokens! * a.columns!, 63],
  }),
  route: (a) => ({
    "t += gridDim.x * kRouteWarps": [a.tokens! + a.blocks! * 4n, 31],
    "warp * (experts + groups)": [4n * 2n * a.experts!, 31],
    "t * experts": [a.tokens! * a.experts!, 63],
  }),
  select_rows: selectRows,
  fp8_blocks: (a) => ({
    ...blocks(a),
    "width + band_rows - 1": [a.width! + a.bandRows!, 31],
    "depth + run_columns - 1": [a.depth! + a.runColumns!, 31],
  }),
  fp8_decode: blocks,
  fp8: packedProduct,
  int4_blocks: blocks,
  int4_decode: blocks,
  int4: packedProduct,
  mxfp4_blocks: blocks,
  mxfp4_decode: blocks,
  mxfp4: packedProduct,
  nvfp4_blocks: blocks,
  nvfp4_decode: blocks,
  nvfp4: packedProduct,
  decode_stored: (a) => ({
    "k += blockDim.x": [a.depth! + 256n, 31],
    "blockIdx.x * depth + k": [(a.blocks! + 1n) * a.depth!, 63],
  }),
  gather_panels: (a) => ({
    "i += threads": [8n * a.panelRows! + a.blocks! * a.threads!, 32],
    "blockIdx.x % sets * kPanelTokens + threadIdx.x / 8": [a.tokens! + 32n, 31],
    "blockIdx.x / sets * 64 + lane * 8": [a.depth! + 64n, 31],
    "slot": [a.tokens! * a.topK! + 8n, 63],
  }),
  bin_tokens: (a) => ({
    "i += item_step()": [a.bins! * a.capacity! + a.blocks! * 256n, 31],
    "begin + c, where c < left": [a.n!, 31],
  }),
  bin_rows: (a) => ({
    "position += item_step()": [a.n! + a.blocks! * 256n, 31],
    "bin * capacity + c": [a.bins! * a.capacity!, 31],
    "bin + upper": [2n * a.bins!, 31],
  }),
  fill: (a) => ({ "i += item_step()": [a.count! + a.blocks! * 256n, 63], "first_item()": [a.blocks! * 256n, 31] }),
  copy_words: (a) => ({ "i += item_step()": [a.n! + a.blocks! * 256n, 31] }),
  received_experts: (a) => ({
    "row += element_step()": [a.rows! + a.blocks! * 256n, 63],
    "offsets += stride": [a.ranks! * a.stride!, 31],
    "expert + upper + 1": [2n * a.count!, 31],
  }),
  local_experts: (a) => ({ "i += element_step()": [a.n! + a.blocks! * 256n, 63] }),
  tile_offsets: () => ({}), // at most the tiles of a product
  round_sum: (a) => ({ "i += element_step()": [a.count! + a.blocks! * 256n, 63] }),
  wait_for_host: () => ({}), // reads one address
  even_offsets: (a) => ({
    "g * rows": [a.groups! * a.rows!, 31],
    "g * tiles": [a.groups! * a.tiles!, 31],
    "g += kOpThreads": [a.groups! + 256n, 31],
  }),
};

function familyOf(kernel: string): string {
  const family = Object.keys(expressions).find((name) => kernel.startsWith(name));
  assert(family, `${kernel} does not have index expressions in this test`);
  return family;
}

/** Checks a launch. `tiles` is the number of tiles of a product. */
function check({ kernel, blocks, threads, arguments: values }: KernelLaunch<unknown>, tiles = blocks): void {
  assertLess(blocks, 2 ** 31, kernel);
  const integers = Object.entries(values).filter(([, value]) => Number.isInteger(value)) as [string, number][];
  const numbers = {
    ...Object.fromEntries(integers.map(([name, value]) => [name, BigInt(value)])),
    tiles: BigInt(tiles),
    elements: kernel.endsWith("f32") ? 4n : 8n, // in 16 bytes
  };
  for (
    const [name, [value, bits]] of Object.entries(
      expressions[familyOf(kernel)]!({ ...numbers, blocks: BigInt(blocks), threads: BigInt(threads) }),
    )
  ) {
    assert(value < 2n ** BigInt(bits), `${kernel}: ${name} is ${value}, for ${Deno.inspect(integers)}`);
  }
}

/** Calls a function with every combination of sizes, and counts the calls that are not refused. */
function forLargest(lists: readonly (readonly number[])[], run: (...sizes: number[]) => void): number {
  let accepted = 0;
  const visit = (sizes: number[]) => {
    const next = lists[sizes.length];
    if (next) return next.forEach((size) => visit([...sizes, size]));
    try {
      run(...sizes);
      accepted++;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
  };
  visit([]);
  return accepted;
}

const sizes = [1, 8, 2880, 2 ** 20, 2 ** 27 + 64, maximumItems, maximumItems + 8, 2 ** 31 - 8, 2 ** 32];
const devices = ["t4", "a100", "h100", "b200"].map((name) => gpus[name]!);
const kernelsOf = (computeCapability: number) => manifest.images[`sm_${computeCapability}`]!.kernels;
const operand = (dtype: "f16" | "f32") => ({ pointer: 16n, dtype });

Deno.test("every kernel has index expressions, and every family has a kernel", () => {
  const families = new Set(
    Object.values(manifest.images).flatMap(({ kernels }) => kernels.map(({ name }) => familyOf(name))),
  );
  assertEquals([...families].sort(), Object.keys(expressions).sort());
});

Deno.test("experts(): no index overflows in a call that is not refused", () => {
  for (const device of devices) {
    for (const dtype of ["f16", "f32"] as const) {
      const accepted = forLargest(
        [sizes, sizes, sizes, [1, 32, 1024, 1025], [1, 8]],
        (tokens, hidden, intermediate, experts, topK) => {
          const call: ResolvedExperts = {
            ...{ ...defaultVariant, dtype, tokens, hidden, intermediate, experts, topK, capacity: Infinity },
            ...{ denseWeights: false, weightsDType: dtype, formats: denseFormats(dtype) },
            ...{ hasInputWeights: false, hasAddend: false },
          };
          checkExperts(call, device);
        },
      );
      assertLess(100, accepted);
    }
  }
});

const packedFormats: readonly PackedFormat[] = [
  { kind: "mxfp4", exactInF16: true },
  { kind: "nvfp4", globalScales: 2 },
  { kind: "int4", group: 32, integers: "zero-points", scale: "f16" },
  { kind: "fp8", block: [1, Number.MAX_SAFE_INTEGER], scale: "f32" },
];

Deno.test("experts() with packed weights: no index overflows in a call that is not refused", () => {
  const accepted = forLargest(
    [sizes, sizes, sizes, [1, 32, 1024], [1, 8], [0, 1], [...packedFormats.keys()], [0, 1]],
    (tokens, hidden, intermediate, experts, topK, isMixed, index, isAmpere) => {
      const format = packedFormats[index]!;
      checkExperts({
        ...{ ...defaultVariant, dtype: "bf16", weightLayout: "out-in", tokens, hidden, intermediate, experts, topK },
        ...{ capacity: Infinity, denseWeights: false, weightsDType: "bf16", hasInputWeights: false, hasAddend: false },
        formats: { gateUpProj: format, downProj: isMixed ? { kind: "dense", dtype: "bf16" } : format },
      }, isAmpere ? gpus.a100! : gpus.h100!);
    },
  );
  assertLess(100, accepted);
  const parts = { values: 16n, scales: 16n, globalScales: 16n, zeroPoints: 16n };
  for (const format of packedFormats) {
    forLargest([[1, 1024], sizes, sizes], (experts, outputs, inputs) => {
      const shape = [experts, outputs, inputs], layout = findLayout(format, shape, kernelsOf(90));
      assert(layout);
      check(planLayout(format, layout, shape, parts, { blocks: 16n, rowScales: 16n, nans: 16n }));
    });
  }
});

/** Checks the launches of a call. */
function checkExperts(call: ResolvedExperts, device: PlanDevice): void {
  const { launches, tile } = planLaunches(call, device, kernelsOf(device.computeCapability));
  const kept = call.tokens * call.topK;
  const rowTiles = Math.floor(kept / tile.rows) + Math.min(call.experts, kept);
  for (const launch of launches) {
    const { columnsWidth, productWidth, gateUpWidth, downWidth } = launch.arguments;
    const widths = [columnsWidth, productWidth, gateUpWidth, downWidth].filter((width) => typeof width === "number");
    const columns = widths.reduce((sum, width) => sum + Math.ceil(width / tile.columns), 0);
    check(launch, columns > 0 ? rowTiles * columns : undefined);
  }
}

Deno.test("the steps of a layer: no index overflows in a call that is not refused", () => {
  const offsets = { indices: 1n, counts: 1n, totals: 1n, rowOffsets: 1n, tileOffsets: 1n };
  const tensors = { ...offsets, inputWeights: null, rows: 1n, rowTokens: 1n, rowScales: null };
  const accepted = [
    forLargest([[...sizes, 4096, 4097], [1, maximumExperts, maximumExperts + 1]], (count, experts) => {
      const shape = { count, experts, topK: 1, capacity: maximumItems, tileRows: 1 };
      planSort(shape, tensors).forEach((launch) => check(launch));
    }),
    forLargest([sizes, sizes], (tokens, width) => {
      const shape = { tokens, topK: 1, weightColumns: 1024, width };
      const [expertOutputs, rows, weights, out] = [1n, 1n, 1n, 1n];
      const operands = { expertOutputs, rows, weights, out, indices: null, addend: null, addendWeights: null };
      check(planCombine("f16", "f16", shape, operands, 200));
    }),
    forLargest([sizes, sizes, sizes], (rows, depth, columns) => {
      for (const dtype of ["f16", "f32"] as const) {
        const [input, weight, output] = [operand(dtype), operand(dtype), operand("f32")];
        check(planLinear({ batch: 1, rows, depth, columns }, input, weight, undefined, output, kernelsOf(80), 200));
      }
    }),
    forLargest([sizes, [8, maximumExperts, maximumExperts + 1], [1, maximumTopK]], (tokens, experts, topK) => {
      const router = resolveRouter({ topK }, experts);
      const targets = { routerIndices: operand("f32"), routerWeights: operand("f32"), inputWeights: undefined };
      check(planRoute(tokens, router, operand("f32"), undefined, targets, 200));
    }),
    forLargest([[1, 32, 2 ** 20], sizes, sizes, sizes], (batch, rows, columns, depth) => {
      if (batch * rows > maximumItems) throw new RangeError("batchedMatmul() refuses this");
      const tensors = { input: 1n, weights: 16n, out: 1n, rowOffsets: 1n, tileOffsets: 1n, counters: 1n };
      planProduct({ batch, rows, columns, depth }, "f32", gpus.h100!, kernelsOf(90), tensors).forEach((launch) =>
        check(launch)
      );
    }),
  ];
  for (const count of accepted) assertLess(1, count);
});

Deno.test("gather(), scatter() and full(): no index overflows up to the limits", () => {
  const n = maximumItems;
  check(planItems("select_rows_2", n * 32, 200, { rows: n, sourceRows: n, units: n }));
  check(planItems("bin_tokens", n, 200, { n, bins: 1, capacity: n, topK: 1 }));
  check(planItems("bin_tokens", n, 200, { n, bins: n, capacity: 1, topK: 1 }));
  check(planItems("bin_rows", n, 200, { n, bins: 1, capacity: n }));
  check(planItems("copy_words", maximumExperts, 200, { n: maximumExperts }));
  check(planItems("fill", 2 ** 40, 200, { count: 2 ** 40, bits: 0, bytes: 2 }));
});
