// Checkpoints in every format, and what is refused. Every family's checkpoint is in table_test.ts.
import { assertEquals, assertLess, assertRejects } from "@std/assert";
import { openBackend, openLayer, SafetensorsError, tensor } from "../../mod.ts";
import { families } from "../../src/models/families/mod.ts";
import { CheckpointLayer } from "../../src/models/checkpoint/checkpoint_layer.ts";
import { relativeError } from "../fixtures.ts";
import { makeCheckpoint, sizes, writeCheckpoint } from "./checkpoints.ts";
import { floatsOf } from "./encodings.ts";
import { errorOf } from "./error_of.ts";
import { published } from "./published.ts";
import { named, storedFormats } from "./stored_formats.ts";

const qwen = named("qwen3_moe"), deepseek = named("deepseek_v3");

for (const { format, kept: _kept, keptDown: _keptDown, ...run } of storedFormats) {
  Deno.test(`${run.published.name} in ${format} is decoded exactly`, async () => {
    assertLess(await errorOf(run), 2e-6);
  });
}

Deno.test("every family cites the code that its facts come from", () => {
  const permalink = /^https:\/\/github\.com\/[\w-]+\/\w+\/blob\/[0-9a-f]{40}\/\S+\.py$/;
  const without = families.filter(({ sources }) =>
    !(sources.length > 0 && sources.every((url) => permalink.test(url)))
  );
  assertEquals(without.map(({ types }) => types[0]), []);
});

Deno.test("every supported family of the table has a checkpoint here", () => {
  const tested = new Set(published.flatMap(({ config }) => typesIn(config)));
  const missing = families.filter(({ types, refusal }) => !refusal && !types.some((type) => tested.has(type)));
  assertEquals(missing.map(({ types }) => types[0]), []);
});

function typesIn(config: unknown): string[] {
  if (typeof config !== "object" || config === null) return [];
  return Object.entries(config).flatMap(([key, value]) => key === "model_type" ? [value as string] : typesIn(value));
}

const refused: readonly [config: Record<string, unknown>, message: string][] = [
  ...families.flatMap(({ types, refusal }) =>
    refusal
      ? types.map((
        type,
      ): [Record<string, unknown>, string] => [{ model_type: type }, `"${type}" is not supported: ${refusal}`])
      : []
  ),
  [{ model_type: "deepseek_v2", num_experts_per_tok: 2, topk_method: "best_of_all" }, "best_of_all"],
  [{ model_type: "mistral4", n_group: 2 }, "mistral4 with n_group 2 is not supported: groups of experts are ranked"],
  [{ model_type: "axk2", n_group: 2 }, "axk2 with n_group 2 is not supported"],
  [{ model_type: "laguna", moe_apply_router_weight_on_input: true }, "the weights multiply the input of the experts"],
  [{ model_type: "qwen3_moe", swiglu_limit: 7 }, "qwen3_moe with swiglu_limit 7 is not supported: it is not known how"],
  [
    { model_type: "kimi_k3", text_config: { model_type: "kimi_linear", activation_situ_beta: 4, hidden_act: "silu" } },
    "kimi_linear with activation_situ_beta 4 is not supported: its experts have the activation SiTU",
  ],
  [{ num_experts_per_tok: 2, zero_expert_num: 4 }, "a model with zero_expert_num 4 is not supported"],
  [{ model_type: "nllb-moe", second_expert_policy: "random" }, "the second expert of a token is drawn at random"],
  [{ model_type: "nllb-moe", moe_eval_capacity_token_fraction: 0.5 }, "each expert drops tokens beyond a capacity"],
  [{ model_type: "step3p5", moe_top_k: 2, swiglu_limits: [0, 7] }, "clamped after the activation"],
  [
    { model_type: "dbrx", ffn_config: { moe_top_k: 2, moe_normalize_expert_weights: 2 } },
    "moe_normalize_expert_weights",
  ],
];

for (const [config, message] of refused) {
  Deno.test(`${JSON.stringify(config)} is refused, with the reason`, async () => {
    const directory = await Deno.makeTempDir();
    const { tensors } = makeCheckpoint(qwen, { experts: floatsOf("BF16") }, 1);
    await writeCheckpoint(directory, { ...qwen, config }, tensors);
    await assertRejects(() => CheckpointLayer.open(directory, { layer: 1 }), SafetensorsError, message);
    await Deno.remove(directory, { recursive: true });
  });
}

Deno.test("the experts are not clamped if config.json has null as the limit", async () => {
  const published = named("glm5_next"), directory = await Deno.makeTempDir();
  const { tensors } = makeCheckpoint(published, { experts: floatsOf("BF16") }, 1);
  for (const [limit, expected] of [[{}, 10], [{ swiglu_limit: null }, Infinity]] as const) {
    const config = { model_type: "glm5_next_text", num_experts_per_tok: 3, ...limit };
    await writeCheckpoint(directory, { ...published, config }, tensors);
    using layer = await CheckpointLayer.open(directory, { layer: 1 });
    assertEquals(layer.shape.routed.activationLimit, expected);
  }
  await Deno.remove(directory, { recursive: true });
});

Deno.test("experts without a gate, as wide as the hidden states, are read in the family's layout", async () => {
  const published = named("nemotron_h, names of transformers 5"), square = { ...sizes, intermediate: sizes.hidden };
  const error = await errorOf({ published, encodings: { experts: floatsOf("F32") }, sizes: square });
  assertLess(error, 2e-6);
});

Deno.test("openLayer uploads a layer, ready for moe, and frees it", async () => {
  const { tensors, hidden, output } = makeCheckpoint(deepseek, { experts: floatsOf("BF16") }, 3);
  const directory = await Deno.makeTempDir();
  await writeCheckpoint(directory, deepseek, tensors);
  using backend = await openBackend("cpu", { threads: 1 });
  const before = backend.memory.liveBytes;
  const fractions: number[] = [];
  const layer = await openLayer(directory, {
    backend,
    layer: 1,
    dtype: "f32",
    onProgress: (done) => fractions.push(done),
  });
  assertEquals(fractions.at(-1), 1);
  {
    using x = backend.upload(tensor(Float32Array.from(hidden.values), [hidden.rows, hidden.columns]));
    using y = await backend.moe(x, layer);
    assertLess(relativeError((await backend.download(y)).data, output), 2e-6);
  }
  layer[Symbol.dispose]();
  assertEquals(backend.memory.liveBytes, before);
  await assertRejects(() => openLayer(directory, { backend, layer: 9 }), SafetensorsError, "layer 9 has no experts");
  await Deno.remove(directory, { recursive: true });
});

Deno.test("openLayer takes a path or a file URL, and names a wrong option", async () => {
  const url = new URL("../../fixtures/layers/deepseek-v3/", import.meta.url);
  using backend = await openBackend("cpu", { threads: 1 });
  using layer = await openLayer(url, { backend });
  assertEquals(layer.activation, "silu");
  const refused: readonly [options: unknown, type: typeof TypeError | typeof RangeError, message: string][] = [
    [{}, TypeError, "backend must be a backend, as openBackend() opens it, got undefined"],
    [{ backend: "cpu" }, TypeError, 'backend must be a backend, as openBackend() opens it, got "cpu"'],
    [{ backend, layer: "4" }, RangeError, 'layer must be an integer of at least 0, got "4"'],
    [{ backend, prefix: 3 }, TypeError, "prefix must be a string, got 3"],
    [{ backend, dtype: "i32" }, RangeError, 'dtype must be "f16", "bf16" or "f32", got "i32"'],
    [{ backend, onProgress: 3 }, TypeError, "onProgress must be a function, got 3"],
  ];
  for (const [options, type, message] of refused) {
    await assertRejects(() => openLayer(url, options as Parameters<typeof openLayer>[1]), type, message);
  }
  await assertRejects(() => openLayer(3 as unknown as string, { backend }), TypeError, "path must be a path or a file");
});
