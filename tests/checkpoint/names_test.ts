// Which layer is found, and which quantization formats are named.
import { assertEquals, assertRejects } from "@std/assert";
import { SafetensorsError, type Tensor } from "../../mod.ts";
import { CheckpointLayer } from "../../src/models/checkpoint/checkpoint_layer.ts";
import type { LayerOptions } from "../../src/models/checkpoint/settings.ts";
import { E, H, inDirectory, numbered, renamed } from "./checkpoints.ts";

const layerAt = (prefix: string, layer = 0) => renamed("model.layers", `${prefix}layers`, layer);
const K2 = { topK: 2 } as const;

/** Opens a checkpoint and returns the first mark of the layer's down projections, which identifies the layer. */
async function open(tensors: Record<string, Tensor>, options: LayerOptions, config?: object): Promise<number> {
  let mark: number | undefined;
  await inDirectory({ tensors, ...config && { config: JSON.stringify(config) } }, async (directory) => {
    using found = await CheckpointLayer.open(directory, { ...K2, ...options });
    mark = [...(await found.read()).downProj.data].find((value) => value !== 0);
  });
  return mark!;
}

const refuses = (tensors: Record<string, Tensor>, options: LayerOptions, message: string, config?: object) =>
  assertRejects(() => open(tensors, options, config), SafetensorsError, message);

/** A layer that the test expects, beside another that is layer 0, too. */
const decoy = (prefix: string) => {
  const entries = Object.entries(layerAt(prefix, 7));
  return Object.fromEntries(entries.map(([name, value]) => [name.replace("layers.7.", "layers.0."), value]));
};

const others = [
  "mtp.",
  "model.mtp.",
  "mtp_block.",
  "nextn_predict.",
  "eagle_head.",
  "visual.",
  "vision_tower.",
  "audio_tower.",
  "talker.model.",
];

for (const prefix of others) {
  Deno.test(`A layer of ${prefix} is a candidate only for --prefix`, async () => {
    const tensors = { ...layerAt("model."), ...decoy(prefix) };
    assertEquals(await open(tensors, {}), 2);
    assertEquals(await open(tensors, { layer: 0 }), 2);
    assertEquals(await open(tensors, { prefix }), 702);
    assertEquals(await open(tensors, { layer: 0, prefix }), 702);
    await refuses(decoy(prefix), {}, "found experts only outside the language model; choose with --prefix");
  });
}

Deno.test("A thinker is found beside a talker, each with its own configuration", async () => {
  const tensors = { ...layerAt("thinker.model."), ...decoy("talker.model.") };
  const config = {
    model_type: "qwen3_omni_moe",
    thinker_config: { text_config: { model_type: "qwen3_omni_moe_text", num_experts_per_tok: 2 } },
    talker_config: { text_config: { model_type: "qwen3_omni_moe_talker_text", num_experts_per_tok: 3 } },
  };
  assertEquals(await open(tensors, {}, config), 2);
  assertEquals(await open(tensors, { prefix: "talker." }, config), 702);
  await inDirectory({ tensors, config: JSON.stringify(config) }, async (directory) => {
    using thinker = await CheckpointLayer.open(directory);
    using talker = await CheckpointLayer.open(directory, { prefix: "talker." });
    assertEquals([thinker.family, thinker.routerKind, thinker.shape.router.topK], [
      ...["qwen3_omni_moe_text", "softmax-renormalize", 2],
    ]);
    assertEquals([talker.family, talker.routerKind, talker.shape.router.topK], [
      ...["qwen3_omni_moe_talker_text", "softmax", 3],
    ]);
  });
});

Deno.test("Layers after the model's last one are chosen only by their number", async () => {
  const tensors = { ...layerAt("model.", 3), ...layerAt("model.", 4) };
  const config = { model_type: "mixtral", num_hidden_layers: 4, num_nextn_predict_layers: 1 };
  assertEquals(await open(tensors, {}, config), 302);
  assertEquals(await open(tensors, { layer: 4 }, config), 402);
  await refuses(tensors, {}, "--layer is needed; the layers with experts are 3, 4");
});

Deno.test("Layers with the same number need a prefix", async () => {
  const tensors = { ...layerAt("first."), ...decoy("second.") };
  const message = 'layer 0 exists more than once: --prefix is needed, "first.layers.0.block_sparse_moe." or ' +
    '"second.layers.0.block_sparse_moe."';
  await refuses(tensors, { layer: 0 }, message);
  await refuses(tensors, {}, "--layer is needed; the layers with experts are 0, 0");
  await refuses(tensors, { prefix: "third." }, 'no layer with experts begins with "third."');
  assertEquals(await open({ ...layerAt("model."), ...decoy("second.") }, {}), 2);
  assertEquals(await open({ ...layerAt("model."), ...decoy("second.") }, { layer: 0 }), 2);
  assertEquals(await open(tensors, { prefix: "second." }), 702);
  assertEquals(await open(tensors, { prefix: "first.layers.0.block_sparse_moe." }), 2);
});

const base = "model.layers.0.mlp.experts.";
const quantized: Readonly<Record<string, readonly string[]>> = {
  "bitsandbytes": ["weight", "weight.absmax", "weight.quant_map", "weight.quant_state.bitsandbytes__nf4"].map((
    suffix,
  ) => `0.down_proj.${suffix}`),
  "HQQ": ["0.down_proj.W_q"],
  "EXL3": ["0.down_proj.trellis"],
};

for (const [format, names] of Object.entries(quantized)) {
  Deno.test(`Experts in ${format} are found, and the format is named`, async () => {
    const gate = { "model.layers.0.mlp.gate.weight": numbered([E, H]) };
    const tensors = Object.fromEntries(names.map((name) => [base + name, numbered([2, 2])]));
    const config = { model_type: "qwen3_moe", num_experts_per_tok: 2 };
    await refuses({ ...gate, ...tensors }, {}, `the experts of "model.layers.0.mlp." are quantized`, config);
    await refuses({ ...gate, ...tensors }, { layer: 0 }, format, config);
    await refuses({ ...gate, ...tensors }, { layer: 1 }, "the layers with experts are 0", config);
  });
}

Deno.test("A shared expert in an unsupported quantization is named", async () => {
  const shared = "model.layers.0.block_sparse_moe.shared_expert.down_proj";
  const tensors = { ...renamed("", ""), [`${shared}.W_q`]: numbered([2, 2]), [`${shared}.weight`]: numbered([2, 2]) };
  await refuses(tensors, {}, `tensor "${shared}.weight" has a quantization that is not supported (HQQ)`);
});
