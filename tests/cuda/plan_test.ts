import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import fc from "../fast_check.ts";
import { manifest } from "../../src/cuda/images/built/manifest.ts";
import { chooseImage } from "../../src/cuda/images/load.ts";
import { gpus } from "../../src/cuda/plan/gpus.ts";
import { planLaunches, type RowCounts } from "../../src/cuda/plan/experts.ts";
import { defaultVariant } from "../../src/contract/experts_options.ts";
import { planCombine } from "../../src/cuda/plan/steps.ts";
import type { ResolvedExperts } from "../../src/contract/resolve_experts.ts";
import { denseFormats } from "../../src/contract/weights.ts";
import { makeJob, tensorBytes } from "../../src/workload/workload.ts";

const reference: ResolvedExperts = {
  ...defaultVariant,
  tokens: 262144,
  hidden: 2880,
  intermediate: 2880,
  experts: 32,
  topK: 4,
  capacity: 2048,
  denseWeights: false,
  weightsDType: "f16",
  formats: denseFormats("f16"),
  hasInputWeights: false,
  hasAddend: false,
};

function plan(shape: ResolvedExperts, gpu = "h100") {
  const device = gpus[gpu]!;
  return planLaunches(shape, device, manifest.images[chooseImage(device.computeCapability)]!.kernels);
}

Deno.test("the reference job needs six launches, a small one four, only the useful operations, and at most 5200 MB", () => {
  const { launches, workspace } = plan(reference);
  assertEquals(launches.length, 6);
  assertEquals(plan({ ...reference, tokens: 1024 }).launches.length, 4);
  const products = launches.filter(({ kernel }) => /^(gated|plain)/.test(kernel));
  assertEquals(products.reduce((sum, { flops }) => sum + flops, 0), 65536 * 6 * 2880 * 2880);
  const { inputs, output } = tensorBytes(makeJob("reference"));
  const bytes = [...Object.values(inputs), output, ...Object.values(workspace)].reduce((a, b) => a + b);
  assertLessOrEqual(bytes / 2 ** 20, 5200);
  assertLessOrEqual(bytes / 1e6, 5200);
});

Deno.test("the sort covers every assignment up to 2^30, in 32 bits, and its chunks divide into parts for its warps", () => {
  const counts = fc.oneof(
    fc.integer({ min: 1, max: 2 ** 30 }),
    fc.constantFrom(1, 255, 256, 257, 4096, 4097, 8191, 8192, 8193, 2 ** 23, 2 ** 23 + 1, 2 ** 30 - 1, 2 ** 30),
  );
  fc.assert(fc.property(counts, fc.constantFrom(1, 7, 1024), (assignments, experts) => {
    const shape = { ...reference, tokens: assignments, topK: 1, experts, hidden: 8, intermediate: 8, capacity: 1 };
    const [first, scan, rank] = plan(shape, "a100").launches;
    if (first!.kernel === "sort_small") {
      assertLessOrEqual(assignments, 4096);
      assertLessOrEqual(assignments, 128 * (first!.arguments.warps as number));
      assertLessOrEqual(32 * (first!.arguments.warps as number), first!.threads);
      assertLessOrEqual(experts, first!.threads);
      assertLessOrEqual(first!.sharedBytes, 48 * 1024);
      return;
    }
    const histogram = first;
    assert(assignments > 4096 || experts > 512);
    const { n, chunk } = histogram!.arguments as Record<string, number>;
    assertEquals(n, assignments);
    assertEquals(chunk! % 256, 0);
    assert(histogram!.blocks * chunk! >= n!, "an assignment is missing");
    assert((histogram!.blocks - 1) * chunk! < n!, "a block is empty");
    assertLessOrEqual(histogram!.blocks * chunk!, 2 ** 31 - 1);
    assertLessOrEqual(experts * histogram!.blocks, 2 ** 31 - 1);
    assertEquals([rank!.blocks, scan!.arguments.blocks], [histogram!.blocks, histogram!.blocks]);
  }));
});

Deno.test("every launch of every plan is valid for its kernel and the GPU", () => {
  const shapes = fc.record({
    tokens: fc.integer({ min: 1, max: 2 ** 24 }),
    hidden: fc.oneof(fc.integer({ min: 1, max: 2000 }).map((n) => 8 * n), fc.integer({ min: 1, max: 2000 })),
    intermediate: fc.integer({ min: 1, max: 2000 }).map((n) => 8 * n),
    experts: fc.integer({ min: 1, max: 1024 }),
    topK: fc.integer({ min: 1, max: 32 }),
    capacity: fc.oneof(fc.constant(Infinity), fc.integer({ min: 1, max: 2 ** 31 - 1 })),
    denseWeights: fc.boolean(),
    weightsDType: fc.constantFrom("f16" as const, "f32" as const),
    hasInputWeights: fc.boolean(),
    hasAddend: fc.boolean(),
    dtype: fc.constantFrom("f16" as const, "bf16" as const, "f32" as const),
    weightLayout: fc.constantFrom("in-out" as const, "out-in" as const),
    gateUpLayout: fc.constantFrom("interleaved" as const, "concatenated" as const),
    kind: fc.constantFrom(
      { activation: "swiglu-oai" as const, gated: true },
      ...[true, false].map((gated) => ({ activation: "relu2" as const, gated })),
    ),
  });
  fc.assert(fc.property(shapes, fc.constantFrom(...Object.keys(gpus)), ({ kind, ...sizes }, name) => {
    const shape = { ...defaultVariant, ...sizes, ...kind, formats: denseFormats(sizes.dtype) };
    const { kernels } = manifest.images[chooseImage(gpus[name]!.computeCapability)]!;
    for (const launch of plan(shape, name).launches) {
      const kernel = kernels.find((record) => record.name === launch.kernel);
      assert(kernel, launch.kernel);
      assertEquals(Object.keys(launch.arguments).sort(), kernel.fields.map(({ name }) => name).sort(), launch.kernel);
      assertLessOrEqual(launch.threads, kernel.maxThreads);
      assertLessOrEqual(Math.ceil(kernel.registers / 8) * 8 * launch.threads, 65536);
      assertLessOrEqual(
        launch.sharedBytes + kernel.sharedBytes,
        gpus[name]!.sharedBytes - 1024 * (name === "t4" ? 0 : 1),
      );
      assert(launch.blocks >= 1 && launch.blocks < 2 ** 31);
      for (const { name, type } of kernel.fields) {
        const value = launch.arguments[name];
        if (type === "pointer") assert(typeof value === "string" || value === null, `${launch.kernel} ${name}`);
        else if (type === "tensorMap") assert(typeof value === "object" && value && "box" in value);
        else assert(typeof value === "number" && (type === "float" || value === (value | 0)), launch.kernel);
      }
    }
  }));
});

Deno.test("tensor cores compute f16 and bf16 with rows of whole 16-byte chunks, if they support the dtype", () => {
  const productsOf = (changes: Partial<ResolvedExperts>, gpu?: string) =>
    plan({ ...reference, ...changes }, gpu).launches.map(({ kernel }) => kernel).filter((name) =>
      /^(gated|plain|simt|stream)/.test(name)
    );
  assertEquals(productsOf({}), ["gated_wgmma_f16_in_out", "plain_wgmma_f16_in_out"]);
  assertEquals(productsOf({}, "a100"), ["gated_256_f16_in_out", "plain_256_f16_in_out"]);
  const outIn = { dtype: "bf16", weightLayout: "out-in" } as const;
  assertEquals(productsOf(outIn), ["gated_wgmma_bf16_out_in", "plain_wgmma_bf16_out_in"]);
  assertEquals(productsOf(outIn, "a100"), ["gated_256_bf16_out_in", "plain_256_bf16_out_in"]);
  const plain = { gated: false, activation: "relu2" } as const;
  assertEquals(productsOf(plain), ["plain_256_f16_in_out", "plain_256_f16_in_out"]);
  assertEquals(productsOf({ dtype: "bf16" }, "t4"), ["simt_128_bf16", "simt_128_bf16"]);
  assertEquals(productsOf({ dtype: "f32" }), ["simt_128_f32", "simt_128_f32"]);
  assertEquals(productsOf({ hidden: 2884 }), ["simt_128_f16", "simt_128_f16"]);
  assertEquals(productsOf({ tokens: 4 }), ["stream32_f16_in_out"]);
  assertEquals(productsOf({ tokens: 1 }), Array(2).fill("stream32_f16_in_out"), "few bytes");
  assertEquals(
    productsOf({ tokens: 16, experts: 64, intermediate: 384 }),
    Array(2).fill("stream32_f16_in_out"),
    "short tiles",
  );
  const split = { tokens: 8, gateUpLayout: "concatenated", activation: "silu" } as const;
  assertEquals(productsOf(split), Array(2).fill("stream32_f16_in_out_split"), "tiles that share lines of memory");
  assertEquals(productsOf({ tokens: 1 }, "a100"), ["gated_16_f16_in_out", "plain_16_f16_in_out"]);
});

Deno.test("on Hopper, the kernel for few rows sorts up to 512 assignments, unless the caller needs a sort", () => {
  const layer = { ...reference, hidden: 64, intermediate: 64, experts: 128, topK: 8, capacity: Infinity };
  const image = manifest.images.sm_90!;
  const launches = (changes: Partial<ResolvedExperts>, counts?: RowCounts) =>
    planLaunches({ ...layer, ...changes }, gpus.h100!, image.kernels, undefined, counts).launches.map(({ kernel }) =>
      kernel
    );
  const itself = ["stream32_f16_in_out", "stream32_f16_in_out", "combine_few_f16"], sorted = ["sort_small", ...itself];
  assertEquals(launches({ tokens: 64 }), itself);
  assertEquals(launches({ tokens: 65 }), sorted);
  assertEquals(launches({ tokens: 8, capacity: 1 }), itself);
  assertEquals(launches({ tokens: 8 }, { maximum: Infinity, expected: 64 }), sorted);
  // It has a limited number of counters.
  const kernelOf = (tokens: number) =>
    planLaunches({ ...layer, tokens }, gpus.h100!, image.kernels, 32).launches.find(({ flops }) => flops > 0)?.kernel;
  assertEquals([kernelOf(2 ** 13), kernelOf(2 ** 14)], ["stream32_f16_in_out", "gated_64_f16_in_out"]);
});

Deno.test("on Hopper, experts with few rows get tiles of 32 rows, others of 192", () => {
  const layers = {
    mixtral: { hidden: 4096, intermediate: 14336, experts: 8, topK: 2 },
    gptOss: { hidden: 2880, intermediate: 2880, experts: 32, topK: 4 },
    deepseek: { hidden: 7168, intermediate: 2048, experts: 64, topK: 8 },
    maverick: {
      hidden: 5120,
      intermediate: 8192,
      experts: 128,
      topK: 1,
      gateUpLayout: "concatenated",
      activation: "silu",
    },
  } as const;
  const rowsOf = (layer: keyof typeof layers, tokens: number) =>
    planLaunches(
      { ...reference, dtype: "bf16", formats: denseFormats("bf16"), ...layers[layer], tokens, capacity: Infinity },
      gpus.h100!,
      manifest.images.sm_90!.kernels,
    ).tile.rows;
  assertEquals(rowsOf("mixtral", 16), 32);
  assertEquals(rowsOf("mixtral", 256), 192);
  assertEquals(rowsOf("gptOss", 64), 32);
  assertEquals(rowsOf("gptOss", 512), 192);
  assertEquals(rowsOf("deepseek", 64), 32);
  assertEquals(rowsOf("deepseek", 256), 192);
  assertEquals(rowsOf("maverick", 16), 32, "split gate/up columns in weights [in, out]");
  assertEquals(rowsOf("maverick", 1024), 192, "split gate/up columns in weights [in, out]");
  assertEquals(rowsOf("maverick", 32768), 192, "split gate/up columns in weights [in, out]");
  assertEquals(plan(reference).tile.rows, 192);
});

Deno.test("on Hopper, the second product copies consecutive rows in boxes of 32 rows, and the first product gathers rows", () => {
  const [first, second] = plan(reference).launches.filter(({ kernel }) => kernel.includes("wgmma"));
  const rows = Math.min(reference.tokens * reference.topK, reference.experts * reference.capacity);
  assertEquals(first?.arguments.rows, undefined);
  assertEquals(second?.arguments.rows, {
    ...{ dtype: "f16", pointer: "output", sizes: [reference.intermediate, rows, 1, 1] },
    ...{ strides: Array(3).fill(2 * reference.intermediate), box: [64, 32, 1, 1], swizzle: 128 },
  });
});

Deno.test("gather-and-sum of few tokens loads its slots before it waits if an older kernel has written them", () => {
  const slotsReady = (launches: readonly { arguments: Readonly<Record<string, unknown>> }[]) =>
    launches.at(-1)!.arguments.slotsReady;
  assertEquals(slotsReady(plan({ ...reference, tokens: 4 }).launches), 1);
  assertEquals(slotsReady(plan(reference).launches), 0);
  const sizes = { tokens: 4, topK: 2, weightColumns: 2, width: 64 };
  const tensors = {
    expertOutputs: 1n,
    rows: 2n,
    weights: 3n,
    indices: null,
    addend: null,
    addendWeights: null,
    out: 4n,
  };
  assertEquals(slotsReady([planCombine("f16", "f16", sizes, tensors, 132)]), 0);
});

Deno.test("workspace and bytes depend on the dtype and the gate", () => {
  const f16 = plan(reference), f32 = plan({ ...reference, dtype: "f32", formats: denseFormats("f32") });
  assertEquals(f32.workspace.expertOutputs, 2 * f16.workspace.expertOutputs);
  assertEquals(f32.launches[3]!.bytes, 2 * f16.launches[3]!.bytes);
  const plain = plan({ ...reference, gated: false, activation: "silu" });
  assertEquals(plain.launches[3]!.flops, f16.launches[3]!.flops / 2);
});

Deno.test("a call without kept or expected rows is planned on every GPU, and without kept rows it launches no product", () => {
  const mxfp4 = { kind: "mxfp4", exactInF16: true } as const, formats = { gateUpProj: mxfp4, downProj: mxfp4 };
  for (const [name, device] of Object.entries(gpus)) {
    const { kernels } = manifest.images[chooseImage(device.computeCapability)]!;
    for (const dtype of ["f16", "bf16", "f32"] as const) {
      for (const packed of dtype === "f32" ? [false] : [false, true]) {
        const shape = { ...reference, dtype, tokens: 8, formats: packed ? formats : denseFormats(dtype) };
        const kernelsOf = (counts: RowCounts) =>
          planLaunches(shape, device, kernels, undefined, counts).launches.map(({ kernel, blocks, flops }) => {
            assert(blocks > 0 && Number.isFinite(flops), `${kernel} on ${name}`);
            return kernel;
          });
        const products = kernelsOf({ maximum: 32, expected: 0 }).filter((kernel) =>
          !/^(sort|decode|combine)/.test(kernel)
        );
        assert(products.length > 0, name);
        const without = kernelsOf({ maximum: 0, expected: 0 });
        assertEquals(without.filter((kernel) => !/^(sort|decode)/.test(kernel)), [`combine_few_${dtype}`], name);
      }
    }
  }
});

Deno.test("a call of no tokens is planned, and launches nothing", () => {
  assertEquals(plan({ ...reference, tokens: 0 }).launches, []); // the tile whose kernel sorts itself
});
