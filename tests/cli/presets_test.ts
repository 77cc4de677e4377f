import { assert, assertAlmostEquals, assertEquals, assertMatch } from "@std/assert";
import { presets } from "../../src/models/presets.ts";

async function runPresets(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", new URL("../../cli.ts", import.meta.url).pathname, "presets", ...args],
    env: { NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

async function yamoePresets(...args: string[]): Promise<string> {
  const { code, stdout } = await runPresets(...args);
  assertEquals(code, 0);
  return stdout;
}

Deno.test("presets lists every preset with its sizes and its work", async () => {
  const lines = (await yamoePresets()).split("\n");
  const names = Object.keys(presets), row = (name: string) => lines[1 + names.indexOf(name)]!;
  assertEquals(lines.slice(1, 1 + names.length).map((line) => line.split(" ")[0]), names);
  assertMatch(
    row("deepseek-v3"),
    /^deepseek-v3 +7168 +2048 +256 +8 +2048 +silu +sigmoid-grouped +21\.1 GiB +0\.796 +9451$/,
  );
  assertMatch(row("gpt-oss-20b"), /^gpt-oss-20b +2880 +2880 +32 +4 +swiglu-oai +topk-softmax +1\.5 GiB +0\.199 +2364$/);
});

Deno.test("presets --json has the figures of the published tables, and where they come from", async () => {
  const rows = JSON.parse(await yamoePresets("--json", "--gpu", "h200"));
  // GB of the experts in a type of two bytes, GFLOP a token: 2 · 3 · H · I · E and 6 · H · I · K by hand.
  const expected: Record<string, [gigabytes: number, gigaflops: number]> = {
    "mixtral-8x7b": [2.818, 0.7046],
    "qwen3-235b-a22b": [4.832, 0.302],
    "llama-4-maverick": [32.21, 0.2517],
    "kimi-k2": [33.82, 0.7046],
    "deepseek-v4-pro": [50.73, 0.7927],
  };
  for (const { preset, source, expertBytes, parameterBytes, expertFlopsPerToken, flopsPerToken, ...row } of rows) {
    assert(source.length > 10 && row.model.length > 3, preset);
    assert(parameterBytes > expertBytes && flopsPerToken > expertFlopsPerToken, preset);
    const [gigabytes, gigaflops] = expected[preset] ?? [expertBytes / 1e9, expertFlopsPerToken / 1e9];
    assertAlmostEquals(expertBytes / 1e9, gigabytes, gigabytes / 1000);
    assertAlmostEquals(expertFlopsPerToken / 1e9, gigaflops, gigaflops / 1000);
    const rows = row.computeBoundTokens * row.topK / row.experts; // for each expert, on average
    assertAlmostEquals(rows, 989.4 / 4.8, 989.4 / 4.8 / 200);
  }
});

Deno.test("presets takes the GPU's rates from the flags", async () => {
  const [row] = JSON.parse(await yamoePresets("--json", "--bandwidth", "2", "--rate", "500"));
  assertEquals(row.computeBoundTokens, Math.ceil(row.expertBytes / 2e12 / (row.expertFlopsPerToken / 500e12)));
});

Deno.test("presets takes names with wildcards, and refuses those that match nothing", async () => {
  const names = (rows: { preset: string }[]) => rows.map(({ preset }) => preset);
  assertEquals(names(JSON.parse(await yamoePresets("--json", "kimi-k2", "qwen3-*"))), [
    "qwen3-30b-a3b",
    "qwen3-235b-a22b",
    "kimi-k2",
  ]);
  const { code, stderr } = await runPresets("qwen3-30b");
  assertEquals([code, stderr.includes('No preset is called "qwen3-30b"; the nearest is "qwen3-30b-a3b"')], [2, true]);
});
