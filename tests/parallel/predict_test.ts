import { assert, assertAlmostEquals, assertEquals, assertLess, assertStringIncludes } from "@std/assert";
import { gpus } from "../../src/cuda/plan/gpus.ts";
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

Deno.test("the exchange of assignments moves the rows for other GPUs at the rate of the link, both ways", () => {
  const rows = 8192 * 4 * 3 / 4;
  const { hostBytes, latency, counts } = measuredRates;
  const expected = 2 * (latency + rows * 2880 * 2 / hostBytes) + counts;
  assertAlmostEquals(predict(job, h100, 4).assignmentsMs, 1000 * expected, 1e-9);
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
