import { assert, assertAlmostEquals, assertEquals, assertLess, assertStringIncludes } from "@std/assert";
import { gpus } from "../../src/cuda/plan/gpus.ts";
import { exchangeBytes } from "../../src/parallel/exchange_bytes.ts";
import { measuredRates, predict } from "../../src/parallel/predict.ts";
import { makeJob } from "../../src/workload/workload.ts";
import { words, yamoe } from "../cli/yamoe.ts";

const h100 = gpus.h100;
assert(h100);
const job = makeJob("gpt-oss-20b", { batch: 1, seq: 8192, dtype: "bf16" });

Deno.test("one GPU exchanges nothing", () => {
  const { assignmentsMs, tokensMs, efficiency } = predict(job, h100, 1);
  assertEquals([assignmentsMs, tokensMs, efficiency], [0, 0, 1]);
});

Deno.test("an exchange that takes longer than the products of own tokens adds the difference", () => {
  const slow = { ...measuredRates, hostBytes: 1e9 };
  const tokens = 8192 * 3 * (2880 * 2 + 4 * 4), rows = 8192 * 4 * 3 / 4 * 2880 * 2;
  const added = (rates: typeof slow) => predict(job, h100, 4, rates).assignmentsMs;
  const half = added({ ...slow, hostBytes: 2e9 });
  assertAlmostEquals(added(slow) - half, 1000 * (tokens + rows) / 2e9, 1e-9);
  assertLess(added(measuredRates), 1000 * (tokens + rows) / measuredRates.hostBytes); // it is hidden in part
});

Deno.test("a row for each assignment travels to more GPUs than experts per token", () => {
  const sizes = { tokens: 10, hidden: 8, topK: 4, element: 2 };
  assertEquals(exchangeBytes(sizes, 4, "assignments"), { toExperts: 10 * 3 * (16 + 16), back: 30 * 16 });
  assertEquals(exchangeBytes(sizes, 8, "assignments"), { toExperts: 35 * 16, back: 35 * 16 });
  assertEquals(exchangeBytes(sizes, 8, "tokens"), { toExperts: 10 * 7 * (16 + 16), back: 10 * 7 * 32 });
});

Deno.test("the predictions are near the times on two H200 of 29 November 2026", () => {
  const { h200 } = gpus;
  assert(h200);
  for (
    const [preset, tokens, measured] of [
      ...[["gpt-oss-20b", 64, 0.243], ["gpt-oss-20b", 1024, 0.546], ["gpt-oss-20b", 8192, 2.78]] as const,
      ...[["qwen3-30b-a3b", 64, 0.187], ["qwen3-30b-a3b", 1024, 0.367], ["qwen3-30b-a3b", 8192, 1.63]] as const,
    ]
  ) {
    const { totalMs } = predict(makeJob(preset, { batch: 1, seq: tokens, dtype: "bf16" }), h200, 2);
    assertLess(Math.abs(totalMs / measured - 1), 0.15, `${preset}, ${tokens}`);
  }
});

Deno.test("other hosts are slower, and the weights of a GPU become fewer", () => {
  const [host, hosts] = [predict(job, h100, 8), predict(job, h100, 16)];
  assertLess(host.assignmentsMs * 2, hosts.assignmentsMs);
  assertEquals(host.weightBytes, 2 * hosts.weightBytes);
});

Deno.test("yamoe plan --gpus prints a row for each number of GPUs, and what it assumes", async () => {
  const { code, stdout, stderr } = await yamoe(words("plan --preset gpt-oss-20b --tokens 64 --gpus 6"));
  assertEquals([code, stderr], [0, ""]);
  assertEquals(stdout.split("\n").flatMap((line) => line.match(/^ +\d+(?= {2})/)?.[0].trim() ?? []), [
    "1",
    "2",
    "4",
    "6",
  ]);
  assertStringIncludes(stdout, "Assumes 270 GB/s into a GPU within a host of 8");
  const json = await yamoe(words("plan --preset gpt-oss-20b --tokens 64 --gpus 2 --json"));
  assertEquals(JSON.parse(json.stdout).predictions.length, 2);
  const wrong = await yamoe(words("plan --preset gpt-oss-20b --gpus 33"));
  assertEquals([wrong.code, wrong.stderr], [2, 'yamoe: --gpus must be at most the number of experts, 32, got "33"\n']);
});
