// What `yamoe bench` times: whole layers, checkpoints, skewed routing, a rank's share.
import { assert, assertEquals, assertLess, assertStringIncludes } from "@std/assert";
import { words, yamoe } from "../cli/yamoe.ts";

const small = "bench --backend cpu --threads 1 --preset tiny --hidden 32 --seq 64";

async function rows(line: string, permissions: readonly string[] = []) {
  const { code, stdout, stderr } = await yamoe(words(`${line} --iters 2 --format jsonl`), permissions);
  assertEquals(code, 0, stderr);
  return stdout.trimEnd().split("\n").map((row) => JSON.parse(row));
}

Deno.test("--skew makes Zipf's popularity: the first choices follow it", async () => {
  const [even, zipf, worst] = await rows(`${small} --batch 64 --top-k 1 --capacity none --skew 0,1,worst`);
  assertLess(Math.max(...even.tokensPerExpert), 1.2 * Math.min(...even.tokensPerExpert));
  const total = [1, 2, 3, 4, 5, 6, 7, 8].reduce((sum, rank) => sum + 1 / rank, 0);
  zipf.tokensPerExpert.forEach((count: number, i: number) => {
    const expected = 4096 / (i + 1) / total; // five standard deviations
    assertLess(Math.abs(count - expected), 5 * Math.sqrt(expected), `expert ${i}`);
  });
  assertEquals(worst.tokensPerExpert, [4096, 0, 0, 0, 0, 0, 0, 0]);
});

Deno.test("--ep times a rank's share: its experts, and only the assignments to them", async () => {
  const [whole, share] = await rows(`${small} --batch 2 --capacity none --ep 1,4`);
  assertEquals(share.tokensPerExpert, whole.tokensPerExpert.slice(0, 2));
  assertEquals([share.experts, share.ep, share.verifiedTokens], [8, 4, 16]);
  assertLess(share.peakMemoryBytes, whole.peakMemoryBytes);
});

Deno.test("--op moe times the router and the shared expert too, and checks the sum", async () => {
  const sizes = "--hidden 48 --intermediate 32 --experts 16 --tokens 32";
  const [experts, layer] = await rows(`bench --backend cpu --threads 1 --preset glm-4.5 ${sizes} --op experts,moe`);
  assertEquals([experts.op, layer.op, layer.sharedIntermediate > 0], ["experts", "moe", true]);
  assert(layer.tflops * layer.kernelTimeMs > experts.tflops * experts.kernelTimeMs);
  assertLess(layer.verifyError, 0.01);
});

Deno.test("--weights DIR times a checkpoint's layer, with --hidden FILE as its input, and names them", async () => {
  const folder = "fixtures/layers/deepseek-v3";
  const line = `bench --backend cpu --threads 1 --weights ${folder} --hidden ${folder}/input.safetensors`;
  const [experts, layer] = await rows(`${line} --op experts,moe`, ["--allow-read=fixtures"]);
  for (const row of [experts, layer]) {
    assertEquals([row.weights, row.hiddenFile], [folder, `${folder}/input.safetensors`]);
    assertStringIncludes(row.model, "deepseek");
    assertLess(row.verifyError, 1e-5);
  }
  assertEquals(experts.tokensPerExpert, layer.tokensPerExpert);
});

Deno.test("--activation and --router replace the preset's", async () => {
  const [row] = await rows(`${small} --batch 1 --activation gelu --router sigmoid`);
  assertEquals([row.preset, row.activation, row.router, row.activationLimit], ["custom", "gelu", "sigmoid", null]);
});

const refused: Record<string, string> = {
  "--skew 2 --op moe": "--skew needs drawn logits",
  "--ep 3": '--ep must divide the number of experts, 8, got "3"',
  "--ep 2 --op moe": "--ep needs --op experts with drawn weights and hidden states",
  "--skew -1": '--skew must be a number from 0 to 100, or "worst", got "-1"',
  "--layer 2": "--layer is for --weights DIR",
  "--weights /nowhere":
    '--weights must be one of dense, mxfp4, nvfp4, int4, fp8, or the path of a checkpoint, got "/nowhere", which does not exist',
  "--weights mxpf4": 'got "mxpf4", which does not exist; the nearest is "mxfp4"',
  "--hidden x.safetensors":
    '--hidden must be a size, or the path of a safetensors file, got "x.safetensors", which does not exist',
};

for (const [flags, message] of Object.entries(refused)) {
  Deno.test(`yamoe bench ${flags} is refused`, async () => {
    const { code, stdout, stderr } = await yamoe([...words("bench --preset tiny"), ...words(flags)], ["-R"]);
    assertEquals(stdout, "");
    assert(code === 1 || code === 2);
    assertStringIncludes(stderr, message);
  });
}
