import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { CudaError } from "../../mod.ts";
import { planCombine } from "../../src/cuda/plan/steps.ts";
import type { DeviceBuffer } from "../../src/cuda/driver/memory.ts";
import { Generator } from "../../src/torch/generator.ts";
import { TestDevice } from "../emulator/device.ts";
import { clang } from "../emulator/build.ts";
import { toolkit } from "../toolkit.ts";
import { buildProduct, emulated } from "./emulated.ts";

for (const [topK, width] of [[1, 264], [3, 40], [9, 520], [35, 132]] as const) {
  Deno.test({
    name:
      `cuda, ${emulated}: combine() of ${topK} rows of ${width} gives the same bits however the columns are divided`,
    ignore: !toolkit,
    fn: async () => {
      const tokens = 3, n = tokens * topK;
      const { library } = await buildProduct(80);
      using device = await TestDevice.ofProduct(library);
      const values = new Generator(1).randn([n, width]), weights = new Generator(2).randn([tokens, topK]);
      const addend = new Generator(3).randn([tokens, width]);
      // Some assignments are dropped, and the rows are in another order than the slots.
      const rows = Int32Array.from({ length: n }, (_, i) => i % 5 === 2 ? -1 : (i * 7 + 3) % n);
      const f32 = (data: ArrayLike<number>) => device.upload(Float32Array.from(data));
      const pointers = {
        ...{ expertOutputs: f32(values.data), rows: device.upload(rows), weights: f32(weights.data), indices: null },
        ...{ addend: f32(addend.data), addendWeights: null },
      };
      const expected = Float32Array.from({ length: tokens * width }, (_, at) => {
        const t = Math.floor(at / width), c = at % width;
        let sum = 0;
        for (let k = 0; k < topK; k++) {
          const row = rows[t * topK + k]!;
          if (row >= 0) sum = fma(weights.data[t * topK + k]!, values.data[row * width + c]!, sum);
        }
        return fma(1, addend.data[at]!, sum);
      });
      const shape = { tokens, topK, weightColumns: topK, width };
      for (const [multiprocessors, kernel] of [[0, "combine_f32"], [132, "combine_few_f32"]] as const) {
        for (const warps of [undefined, 1, 2, 3]) {
          const out = device.allocate(tokens * width * 4);
          const launch = planCombine("f32", "f32", shape, { ...pointers, out: out.pointer }, multiprocessors);
          assertEquals(launch.kernel, kernel);
          const args = { ...launch.arguments, ...(warps && { warps }) };
          const blocks = Math.ceil(tokens * Number(args.warps) / (launch.threads / 32));
          device.launch(kernel, launch.threads, args, { blocks });
          assertEquals(new Float32Array(device.download(out).buffer), expected);
        }
      }
    },
  });
}

Deno.test({
  name: `cuda, ${emulated}: combine() of rows in the order of the slots drops slots beyond the capacity`,
  ignore: !toolkit,
  fn: async () => {
    const experts = 5, width = 12, tokens = 9;
    using device = await TestDevice.ofProduct((await buildProduct(80)).library);
    for (const topK of [3, 35]) {
      const n = tokens * topK;
      // Some experts do not exist, and a token has several slots of the same expert.
      const indices = Int32Array.from(new Generator(topK).rand([n]).data, (u) => Math.floor(u * (experts + 2)) - 1);
      const values = new Generator(1).randn([n, width]).data, weights = new Generator(2).randn([n]).data;
      const f32 = (data: ArrayLike<number>) => device.upload(Float32Array.from(data));
      const tensors = {
        ...{ expertOutputs: f32(values), rows: null, weights: f32(weights), indices: device.upload(indices) },
        ...{ addend: null, addendWeights: null },
      };
      for (const capacity of [1, 2, 9, 40, n]) {
        const counts = new Int32Array(experts), expected = new Float32Array(tokens * width);
        indices.forEach((expert, slot) => {
          if (!(expert in counts) || counts[expert]!++ >= capacity) return;
          for (let c = 0; c < width; c++) {
            const at = Math.floor(slot / topK) * width + c;
            expected[at] = fma(weights[slot]!, values[slot * width + c]!, expected[at]!);
          }
        });
        const shape = { tokens, topK, weightColumns: topK, width, denseWeights: false, experts, capacity };
        for (const multiprocessors of [0, 132]) {
          const out = device.allocate(tokens * width * 4);
          const { kernel, threads, blocks, arguments: args } = planCombine(
            ...["f32", "f32", shape, { ...tensors, out: out.pointer }, multiprocessors] as const,
          );
          assertEquals(kernel, capacity < n || multiprocessors > 0 ? "combine_few_f32" : "combine_f32");
          device.launch(kernel, threads, args, { blocks });
          assertEquals(new Float32Array(device.download(out).buffer), expected, Deno.inspect({ topK, capacity }));
        }
      }
    }
  },
});

Deno.test({
  name: `cuda, ${emulated}: combine() waits before it loads slots that the previous kernel has written`,
  ignore: !toolkit || !clang,
  fn: async () => {
    using device = await TestDevice.ofProduct((await buildProduct(90)).library, "sm_90");
    const shape = { tokens: 5, topK: 1, weightColumns: 1, width: 8 };
    const numbers = device.upload(Float32Array.from({ length: 40 }, (_, i) => i));
    const tensors = { expertOutputs: numbers, weights: numbers, indices: null, addend: null, addendWeights: null };
    const dropped = device.upload(new Int32Array(5).fill(-1));
    const zeros = device.allocate(160), out = device.allocate(160);
    const run = (rows: bigint, to: DeviceBuffer, slotsReady: boolean) => {
      const { kernel, threads, arguments: args, blocks } = planCombine(
        ...["f32", "f32", { ...shape, slotsReady }, { ...tensors, rows, out: to.pointer }, 132] as const,
      );
      device.launch(kernel, threads, args, { blocks });
    };
    run(dropped, zeros, true);
    run(zeros.pointer, out, false); // every token has row 0, with a weight of its number
    const expected = Float32Array.from({ length: 40 }, (_, i) => Math.floor(i / 8) * (i % 8));
    assertEquals(new Float32Array(device.download(out).buffer), expected);
    run(dropped, zeros, true);
    assertThrows(() => run(zeros.pointer, out, true), CudaError);
    assertStringIncludes(device.control.report, "a read of memory that the kernel before has written");
  },
});

for (const [topK, width] of [[4, 520], [35, 36], [2, 33]] as const) {
  Deno.test({
    name: `cuda, ${emulated}: combine_sums() of ${topK} rows of ${width} does not round`,
    ignore: !toolkit,
    fn: async () => {
      const tokens = 3, n = tokens * topK;
      const { library } = await buildProduct(80);
      using device = await TestDevice.ofProduct(library);
      const values = Float16Array.from(new Generator(1).randn([n, width]).data);
      const weights = Float32Array.from(new Generator(2).randn([tokens, topK]).data);
      // Another GPU has some of the experts.
      const rows = Int32Array.from({ length: n }, (_, i) => i % 3 === 1 ? -1 : (i * 7 + 3) % n);
      const expected = Float32Array.from({ length: tokens * width }, (_, at) => {
        const t = Math.floor(at / width), c = at % width;
        let sum = 0;
        for (let k = 0; k < topK; k++) {
          const row = rows[t * topK + k]!;
          if (row >= 0) sum = fma(weights[t * topK + k]!, values[row * width + c]!, sum);
        }
        return sum;
      });
      const pointers = {
        expertOutputs: device.upload(new Uint32Array(values.buffer)), // pairs of f16
        ...{ rows: device.upload(rows), weights: device.upload(weights), indices: null },
        ...{ addend: null, addendWeights: null },
      };
      const out = device.allocate(tokens * width * 4);
      for (const multiprocessors of [0, 132]) {
        const { kernel, threads, blocks, arguments: args } = planCombine(
          ...["f16", "f32"] as const,
          { tokens, topK, weightColumns: topK, width },
          { ...pointers, out: out.pointer },
          multiprocessors,
          "f32",
        );
        assertEquals(kernel, "combine_sums_f16");
        device.launch(kernel, threads, args, { blocks });
        assertEquals(new Float32Array(device.download(out).buffer), expected);
      }
    },
  });
}

/** `a * b + c` in f32 with one rounding. The product of two f32 is exact in f64; the test's numbers make the sum exact enough. */
function fma(a: number, b: number, c: number): number {
  return Math.fround(a * b + c);
}
