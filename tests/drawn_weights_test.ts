// Jobs with drawn weights in a packed format.
import { assert, assertAlmostEquals, assertEquals, assertLess } from "@std/assert";
import { decode, openBackend } from "../mod.ts";
import { bench } from "../src/bench/bench.ts";
import { elementCount } from "../src/tensor/tensor.ts";
import { partNames } from "../src/tensor/packed_tensor.ts";
import { packedKinds } from "../src/tensor/packed_tensor.ts";
import { WorkerPool } from "../src/wasm/worker_pool.ts";
import { drawPacked, packedFormats } from "../src/workload/drawn_weights.ts";
import { makeJob, tensorBytes } from "../src/workload/workload.ts";
import { yamoe } from "./cli/yamoe.ts";

for (const kind of packedKinds) {
  Deno.test(`drawPacked() in ${kind} draws weights of the size 0.02, and each expert alone`, async () => {
    const format = packedFormats(kind, false).gateUpProj;
    const whole = await drawPacked(format, [3, 96, 160], 5);
    assertEquals(whole.format, format);
    const weights = [...decode(whole, "f32").data];
    const rms = Math.sqrt(weights.reduce((sum, value) => sum + value * value, 0) / weights.length);
    assertAlmostEquals(rms, 0.02, 0.008);
    assertLess(Math.abs(weights.reduce((sum, value) => sum + value) / weights.length), 0.003);

    const second = await drawPacked(format, [1, 96, 160], 5, 1);
    for (const name of partNames) {
      const part = second.parts[name], all = whole.parts[name];
      assertEquals(
        part?.data,
        all?.data.subarray(elementCount(part?.shape ?? []), 2 * elementCount(part?.shape ?? [])),
      );
    }
    const other = await drawPacked(format, [1, 96, 160], 6, 1);
    assert(other.parts.values.data.some((value, i) => value !== second.parts.values.data[i]));
  });

  Deno.test(`bench() times a job in ${kind}: its memory is that of the format`, async () => {
    using pool = new WorkerPool(2);
    using backend = await openBackend("cpu", { pool });
    const sizes = {
      batch: 1,
      seq: 8,
      hidden: 512,
      intermediate: 512,
      experts: 8,
      capacity: null,
      dtype: "bf16",
    } as const;
    const job = makeJob("tiny", { ...sizes, weights: kind });
    assertEquals([job.weightLayout, job.preset], ["out-in", "custom"]);
    const { peakMemoryBytes, formats, verifiedTokens } = await bench(job, backend, pool, {
      ...{ warmup: 0, iters: 1, verify: true },
    });
    assertEquals([formats, verifiedTokens], [kind, 8]);
    const { inputs, output } = tensorBytes(job);
    const packed = inputs.gateUpProj + inputs.downProj;
    assertLess(packed, 0.6 * 2 * 8 * 3 * 512 * 512);
    const activations = inputs.hiddenStates + inputs.routerIndices + inputs.routingWeights + output +
      2 * 8 * job.topK * (512 + 512);
    assertLess(
      peakMemoryBytes ?? Infinity,
      1.05 * (packed + activations) + inputs.gateUpProjBias + inputs.downProjBias,
    );
  });
}

Deno.test("bench() times a whole layer in fp8, with its shared expert", async () => {
  using pool = new WorkerPool(2);
  using backend = await openBackend("cpu", { pool });
  const sizes = { batch: 1, seq: 5, hidden: 64, intermediate: 48, experts: 16, sharedIntermediate: 48 } as const;
  const job = makeJob("deepseek-v3", { ...sizes, op: "moe", weights: "fp8" });
  const { formats, verifiedTokens } = await bench(job, backend, pool, { warmup: 0, iters: 1, verify: true });
  assertEquals([formats, verifiedTokens], ["fp8", 5]);
});

Deno.test("bench() refuses a format that no kernel reads, by name", async () => {
  const { code, stderr } = await yamoe(["bench", "--preset", "tiny", "--hidden", "72", "--weights", "mxfp4"]);
  assertEquals(code, 2);
  assert(stderr.includes('--hidden must be a multiple of 32 for weights in mxfp4, got "72"'), stderr);
});

Deno.test("plan --weights counts the bytes of the format", async () => {
  const plan = async (weights: string) => {
    const { stdout } = await yamoe([
      "plan",
      "--preset",
      "gpt-oss-20b",
      "--tokens",
      "64",
      "--weights",
      weights,
      "--json",
    ]);
    return JSON.parse(stdout);
  };
  const [dense, packed] = [await plan("dense"), await plan("mxfp4")];
  const weights = 32 * 3 * 2880 * 2880;
  assertEquals(dense.inputBytes - packed.inputBytes, weights * (2 - 17 / 32));
  assertLess(packed.floorMs, 0.29 * dense.floorMs);
});
