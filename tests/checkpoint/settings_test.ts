// What decides how a layer computes: options, a preset, config.json, the names of the tensors.
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { SafetensorsError } from "../../mod.ts";
import { CheckpointLayer } from "../../src/models/checkpoint/checkpoint_layer.ts";
import type { LayerOptions } from "../../src/models/checkpoint/settings.ts";
import { inDirectory, mixtral, numbered, renamed } from "./checkpoints.ts";

Deno.test("Options come before the preset, the preset before config.json, config.json before the names", async () => {
  const config = '{"model_type":"olmoe","num_experts_per_tok":3,"norm_topk_prob":true,"hidden_act":"gelu"}';
  await inDirectory({ tensors: mixtral(0), config }, async (directory) => {
    const settings = async (options: LayerOptions) => {
      using found = await CheckpointLayer.open(directory, options);
      const { router, routed } = found.shape;
      return [found.family, routed.activation, router.before, router.after, router.renormalize, router.topK];
    };
    assertEquals(await settings({}), ["olmoe", "gelu", "softmax", "none", true, 3]);
    assertEquals(await settings({ renormalize: false, topK: 1 }), ["olmoe", "gelu", "softmax", "none", false, 1]);
    assertEquals(await settings({ router: "topk-softmax" }), ["olmoe", "gelu", "none", "softmax", false, 3]);
    assertEquals(await settings({ preset: "mixtral-8x7b" }), ["mixtral-8x7b", "silu", "softmax", "none", true, 2]);
    assertEquals(await settings({ activation: "relu2" }), ["olmoe", "relu2", "softmax", "none", true, 3]);
  });
});

Deno.test("A preset replaces how the layer computes, not how its weights are stored", async () => {
  const directory = new URL("../../fixtures/layers/qwen3-moe-fp8", import.meta.url).pathname; // blocks of 16 x 32
  using found = await CheckpointLayer.open(directory, { preset: "qwen3-30b-a3b", topK: 3 });
  assertEquals([found.family, found.dtype], ["qwen3-30b-a3b", "bf16"]);
});

const glm = {
  model_type: "glm4_moe",
  num_experts_per_tok: 1,
  norm_topk_prob: false,
  routed_scaling_factor: 1.5,
  n_group: 1,
  topk_group: 1,
};

/** Opens Mixtral's layer in module `mlp` with a config, and returns its router. */
async function routerOf(config: object, options: LayerOptions = {}) {
  const files = { tensors: renamed("block_sparse_moe", "mlp"), config: JSON.stringify(config) };
  let found: { kind: string; notes: readonly string[]; router: CheckpointLayer["shape"]["router"] } | undefined;
  await inDirectory(files, async (directory) => {
    using layer = await CheckpointLayer.open(directory, options);
    found = { kind: layer.routerKind, notes: layer.notes, router: layer.shape.router };
  });
  return found!;
}

Deno.test("A router option replaces what it names, and nothing else", async () => {
  const settings = async (options: LayerOptions) => {
    const { kind, router: { scale, renormalize, groups, topK } } = await routerOf(glm, options);
    return { kind, scale, renormalize, groups, topK };
  };
  const model = { kind: "sigmoid-grouped", scale: 1.5, renormalize: false, groups: 1, topK: 1 };
  assertEquals(await settings({}), model);
  assertEquals(await settings({ router: "sigmoid" }), { ...model, kind: "sigmoid" });
  assertEquals(await settings({ router: "softmax" }), { ...model, kind: "softmax" });
  const renormalized = { ...model, kind: "softmax-renormalize", renormalize: true };
  assertEquals(await settings({ router: "softmax-renormalize" }), renormalized);
  assertEquals(await settings({ scale: 3 }), { ...model, scale: 3 });
  assertEquals(await settings({ renormalize: true }), { ...model, renormalize: true });
  assertEquals(await settings({ topK: 2 }), { ...model, topK: 2 });
  assertEquals(
    await settings({ router: "sigmoid-grouped", groups: 3, topGroups: 2, topK: 1 }).catch(String),
    "RangeError: groups must hold at least two experts each, got 3 groups of 3 experts",
  );
});

Deno.test("A router option replaces a renormalization that is part of the router, not one of config.json", async () => {
  const kindOf = async (model_type: string, rest: object) =>
    (await routerOf({ model_type, num_experts_per_tok: 1, ...rest }, { router: "softmax" })).kind;
  assertEquals(await kindOf("mixtral", {}), "softmax");
  assertEquals(await kindOf("unknown", {}), "softmax");
  assertEquals(await kindOf("unknown", { norm_topk_prob: true }), "softmax-renormalize");
  assertEquals(await kindOf("qwen3_moe", { norm_topk_prob: true }), "softmax-renormalize");
});

Deno.test("A router that cannot renormalize says that the model does", async () => {
  const { notes, router } = await routerOf({ ...glm, norm_topk_prob: true }, { router: "sigmoid-input" });
  assertEquals(notes, ["The router kind sigmoid-input ignores that the model renormalizes weights"]);
  assertEquals(router.scale, 1.5);
});

Deno.test("Families renormalize as their code does if config.json does not say it", async () => {
  const families: Readonly<Record<string, readonly [withoutKey: boolean, withFalse: boolean]>> = {
    mixtral: [true, true],
    qwen2_moe: [false, false],
    qwen3_moe: [false, false],
    olmoe: [false, false],
    qwen3_next: [true, false],
    qwen3_vl_moe: [true, true],
    qwen3_vl_moe_text: [true, true],
    qwen3_5_moe: [true, true],
    qwen3_5_moe_text: [true, true],
    qwen3_omni_moe_text: [true, false],
    qwen3_omni_moe_talker_text: [false, false],
    jamba: [false, false],
    ernie4_5_moe: [true, true],
    deepseek_v2: [false, false],
    dots1: [false, false],
    glm4_moe: [true, false],
    glm4_moe_lite: [true, false],
    lfm2_moe: [true, false],
    minimax_m2: [true, true],
    nemotron_h: [true, false],
    bailing_moe: [true, false],
  };
  for (const [model_type, expected] of Object.entries(families)) {
    const options = model_type === "nemotron_h" ? { gated: true } : {}; // Mixtral's experts have gates
    const config = { model_type, num_experts_per_tok: 1 };
    const actual = [
      (await routerOf(config, options)).router.renormalize,
      (await routerOf({ ...config, norm_topk_prob: false }, options)).router.renormalize,
    ];
    assertEquals([model_type, ...actual], [model_type, ...expected]);
  }
});

Deno.test("The language model's configuration is found at any depth", async () => {
  const inner = { model_type: "glm4_moe_lite", num_experts_per_tok: 2, routed_scaling_factor: 1.25 };
  const configs: object[] = [
    { model_type: "a", text_config: inner },
    { model_type: "a", llm_config: inner },
    { model_type: "a", language_config: inner },
    { model_type: "a", thinker_config: { model_type: "b", text_config: inner }, talker_config: { model_type: "c" } },
    { model_type: "a", llm_config: { model_type: "b", text_config: inner } },
    { model_type: "a", language_backbone_config: inner, vision_config: { hidden_act: "gelu" } },
    { model_type: "glm4_moe_lite", text_config: { num_experts_per_tok: 2, routed_scaling_factor: 1.25 } },
  ];
  for (const config of configs) {
    const { kind, router } = await routerOf(config);
    assertEquals([kind, router.topK, router.scale], ["sigmoid-grouped", 2, 1.25]);
  }
});

Deno.test("Keys of other families, constants of Python and unknown activations are read", async () => {
  const other = { model_type: "ernie4_5_moe", moe_k: 2 };
  assertEquals((await routerOf(other)).router.topK, 2);
  const ling = { model_type: "bailing_moe", score_function: "sigmoid", num_experts_per_tok: 2 };
  assertEquals((await routerOf(ling)).router.before, "sigmoid");
  const dots = { model_type: "dots1", scoring_func: "noaux_tc", num_experts_per_tok: 2 };
  assertEquals((await routerOf(dots)).kind, "sigmoid-grouped");
  const unknown = { model_type: "mixtral", hidden_act: "xielu", num_experts_per_tok: 2 };
  assertEquals((await routerOf(unknown, { activation: "silu" })).router.topK, 2);

  const config = '\ufeff{"model_type":"mixtral","num_experts_per_tok":2,"a":[Infinity,-Infinity,NaN,"Infinity"]}';
  await inDirectory({ tensors: mixtral(0), config }, async (directory) => {
    using found = await CheckpointLayer.open(directory);
    assertEquals(found.shape.router.topK, 2);
  });
});

Deno.test("A key that is null does not hide another key for the same value", async () => {
  const config = { model_type: "hunyuan_v1_moe", moe_topk: null, num_experts_per_tok: 2 };
  assertEquals((await routerOf(config)).router.topK, 2);
  assertEquals((await routerOf({ model_type: "hunyuan_v1_moe", moe_topk: null })).router.topK, 1);
});

Deno.test("Parts that config.json announces and the checkpoint does not have are noted", async () => {
  const notes = async (rest: object) =>
    (await routerOf({ ...glm, ...rest })).notes.map((note) => note.replace(/^.*config\.json/, "config.json"));
  assertEquals(await notes({ n_shared_experts: null, topk_method: "greedy", use_expert_bias: false }), []);
  assertEquals(await notes({ n_shared_experts: [2, 0], topk_method: "noaux_tc" }), [
    "config.json has n_shared_experts 2, but the layer has no shared expert",
    'config.json has topk_method "noaux_tc", but the layer has no correction bias',
  ]);
  assertEquals(await notes({ moe_router_enable_expert_bias: true }), [
    "config.json has moe_router_enable_expert_bias true, but the layer has no correction bias",
  ]);
  assertEquals(await notes({ model_type: "gpt_oss" }), [
    'config.json has model_type "gpt_oss", but the layer has no router bias',
  ]);
});

Deno.test("A score that the family's code does not compute must be confirmed", async () => {
  for (
    const [config, message] of [
      [
        { model_type: "qwen3_moe", scoring_func: "sigmoid" },
        'scoring_func is "sigmoid", but the code of qwen3_moe uses',
      ],
      [{ model_type: "minimax_m2", scoring_func: "softmax" }, "but the code of minimax_m2 uses sigmoid"],
      [{ model_type: "afmoe", score_func: "softmax" }, "but the code of afmoe uses sigmoid"],
      [{ model_type: "step3p5", moe_router_activation: "softmax" }, "but the code of step3p5 uses sigmoid"],
      [{ model_type: "granitemoe", score_function: "sigmoid" }, "but the code of granitemoe uses softmax"],
    ] as const
  ) {
    await assertRejects(() => routerOf({ ...config, num_experts_per_tok: 1 }), SafetensorsError, message);
    assertEquals((await routerOf({ ...config, num_experts_per_tok: 1 }, { router: "sigmoid" })).kind, "sigmoid");
  }
  const agreed = { model_type: "granitemoe", score_function: "softmax", num_experts_per_tok: 1 };
  assertEquals((await routerOf(agreed)).kind, "topk-softmax");
});

Deno.test("A list of values for the layers must have one for the layer", async () => {
  const path = (text: string) => text.replace(/\S*config\.json/, "config.json");
  const error = await assertRejects(() => routerOf({ model_type: "olmoe", num_experts_per_tok: [] }), SafetensorsError);
  assertEquals(
    path(error.message),
    "config.json: num_experts_per_tok must have an element for layer 0, got a list of length 0",
  );
  const scales = { model_type: "glm4_moe", num_experts_per_tok: [2, 1], routed_scaling_factor: [3, 1] };
  const { router } = await routerOf(scales);
  assertEquals([router.topK, router.scale], [2, 3]);
});

Deno.test("What a config.json without a model_type does not say, the names say", async () => {
  const config = '{"num_experts_per_tok":3,"hidden_act":"gelu"}';
  await inDirectory({ tensors: mixtral(0), config }, async (directory) => {
    using found = await CheckpointLayer.open(directory);
    const { routed, router } = found.shape;
    assertEquals([found.family, found.routerKind], ["mixtral", "softmax-renormalize"]);
    assertEquals([routed.activation, router.topK], ["gelu", 3]);
  });
});

Deno.test("A gpt-oss checkpoint without a model_type ignores hidden_act, as its code does", async () => {
  const folder = new URL("../../fixtures/layers/gpt-oss/", import.meta.url);
  const directory = await Deno.makeTempDir();
  try {
    await Deno.copyFile(new URL("model.safetensors", folder), `${directory}/model.safetensors`);
    const config = { num_experts_per_tok: 4, hidden_act: "silu", swiglu_limit: 7 };
    await Deno.writeTextFile(`${directory}/config.json`, JSON.stringify(config));
    using found = await CheckpointLayer.open(directory);
    assertEquals([found.family, found.shape.routed.activation], ["gpt-oss", "swiglu-oai"]);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("If the names fit Mixtral and Phi-3.5-MoE, a note says which router is used", async () => {
  await inDirectory({ tensors: mixtral(0) }, async (directory) => {
    using taken = await CheckpointLayer.open(directory, { topK: 2 });
    assertEquals(taken.notes.length, 1);
    assertStringIncludes(taken.notes[0]!, "--router sparse-mixer");
    using told = await CheckpointLayer.open(directory, { topK: 2, router: "softmax-renormalize" });
    assertEquals(told.notes, []);
  });
});

Deno.test("A correction bias that the router does not use is noted", async () => {
  const tensors = { ...renamed("block_sparse_moe", "mlp"), "model.layers.0.mlp.gate.expert_bias": numbered([3]) };
  await inDirectory({ tensors }, async (directory) => {
    using found = await CheckpointLayer.open(directory, { topK: 1, router: "topk-softmax" });
    assertEquals(found.notes, ["The router kind topk-softmax does not use model.layers.0.mlp.gate.expert_bias"]);
  });
});
