// The families' checkpoints as people publish them: config.json, names, packings, and what the modeling code computes.
// Source: transformers 5.18.0, models/*/modeling_*.py, configuration_*.py and conversion_mapping.py; vLLM where an entry
// says so. Sizes are small; every key has the published spelling.
import type { Published } from "./checkpoints.ts";
import type { Definition } from "./layer_model.ts";

const mlp = "model.layers.1.mlp.";
const sparse = "model.layers.1.block_sparse_moe.";
const forward = "model.layers.1.feed_forward.";
const dense = ["model.layers.0.mlp.gate_proj.weight", "model.layers.0.mlp.down_proj.weight"];

const softmax: Definition = { scores: "softmax", topK: 2, activation: "silu" };
const renormalized: Definition = { ...softmax, renormalize: true };
const corrected: Definition = { scores: "sigmoid", topK: 3, renormalize: true, activation: "silu" };
const logits: Definition = { scores: "logits-softmax", topK: 2, activation: "silu" };

const each = { base: mlp, packing: "gate_proj", router: "gate", others: dense } as const;
const mixtral = { base: sparse, packing: "w1", router: "gate" } as const;
const shared = { prefix: `${mlp}shared_experts.`, packing: "gate_proj" } as const;
const gatedShared = { prefix: `${mlp}shared_expert.`, packing: "gate_proj", gate: "shared_expert_gate" } as const;
const deepseek = { ...each, correctionBias: "gate.e_score_correction_bias", shared } as const;

/** The keys of DeepSeek-V3 that most of its kin have. */
const noGroups = { num_experts_per_tok: 3, n_group: 1, topk_group: 1, hidden_act: "silu" };
const qwen = { num_experts: 8, num_experts_per_tok: 2, hidden_act: "silu" };

/** Every checkpoint of the table. */
export const published: readonly Published[] = [
  // Qwen
  {
    name: "qwen2_moe",
    ...each,
    config: { model_type: "qwen2_moe", ...qwen },
    definition: softmax,
    shared: gatedShared,
  },
  {
    name: "qwen3_moe",
    ...each,
    config: { model_type: "qwen3_moe", ...qwen, norm_topk_prob: true },
    definition: renormalized,
  },
  { name: "qwen3_moe, no norm_topk_prob", ...each, config: { model_type: "qwen3_moe", ...qwen }, definition: softmax },
  {
    name: "qwen3_next",
    ...each,
    config: { model_type: "qwen3_next", ...qwen },
    definition: renormalized,
    shared: gatedShared,
    others: ["mtp.layers.1.mlp.experts.0.down_proj.weight", "mtp.layers.1.mlp.gate.weight"],
  },
  {
    name: "qwen3_5_moe",
    config: { model_type: "qwen3_5_moe", text_config: { model_type: "qwen3_5_moe_text", ...qwen } },
    definition: renormalized,
    base: `model.language_model.${mlp.slice(6)}`,
    packing: "fused-out-in",
    router: "gate",
    shared: { ...gatedShared, prefix: `model.language_model.${mlp.slice(6)}shared_expert.` },
    others: ["mtp.layers.1.mlp.experts.down_proj", "model.visual.blocks.1.mlp.experts.down_proj"],
  },
  {
    name: "qwen3_vl_moe",
    config: { model_type: "qwen3_vl_moe", text_config: { model_type: "qwen3_vl_moe_text", ...qwen } },
    definition: renormalized,
    base: `model.language_model.${mlp.slice(6)}`,
    packing: "fused-in-out",
    router: "gate",
  },
  {
    name: "qwen3_omni_moe (thinker)",
    config: {
      model_type: "qwen3_omni_moe",
      thinker_config: {
        model_type: "qwen3_omni_moe_thinker",
        text_config: { model_type: "qwen3_omni_moe_text", ...qwen },
      },
      talker_config: { text_config: { model_type: "qwen3_omni_moe_talker_text", num_experts_per_tok: 5 } },
    },
    definition: renormalized,
    base: `thinker.${mlp}`,
    packing: "gate_proj",
    router: "gate",
    others: ["talker.model.layers.1.mlp.experts.0.down_proj.weight"],
  },
  { name: "olmoe", ...each, config: { model_type: "olmoe", ...qwen }, definition: softmax },
  { name: "flex_olmo", ...each, config: { model_type: "flex_olmo", ...qwen }, definition: softmax },
  {
    name: "bailing_moe (Ling 1)",
    ...each,
    config: { model_type: "bailing_moe", ...qwen, norm_topk_prob: true, num_shared_experts: 2 },
    definition: renormalized,
    shared,
  },
  {
    name: "bailing_moe_v2 (Ling 2)",
    ...each,
    config: {
      model_type: "bailing_moe_v2",
      ...{ num_experts: 8, num_experts_per_tok: 3, n_group: 4, topk_group: 2, norm_topk_prob: true },
      ...{ score_function: "sigmoid", routed_scaling_factor: 2.5, num_shared_experts: 1, hidden_act: "silu" },
    },
    definition: { ...corrected, groups: [4, 2], scale: 2.5 },
    correctionBias: "gate.expert_bias",
    shared,
  },
  {
    name: "ernie4_5_moe",
    ...each,
    config: { model_type: "ernie4_5_moe", moe_k: 2, moe_num_experts: 8, moe_num_shared_experts: 2, hidden_act: "silu" },
    definition: renormalized,
    correctionBias: "moe_statics.e_score_correction_bias",
    biasOfTwoDimensions: true,
    shared,
  },
  {
    name: "hunyuan_v1_moe",
    ...each,
    config: { model_type: "hunyuan_v1_moe", num_experts: 8, moe_topk: [1, 2, 1], hidden_act: "silu" },
    definition: renormalized,
    router: "gate.wg",
    shared: { ...shared, prefix: `${mlp}shared_mlp.` },
  },
  // DeepSeek
  {
    name: "deepseek_v2 (greedy)",
    ...each,
    config: {
      model_type: "deepseek_v2",
      ...{ num_experts_per_tok: 2, n_routed_experts: 8, n_group: 1, topk_group: 1, topk_method: "greedy" },
      ...{ norm_topk_prob: false, routed_scaling_factor: 1.5, scoring_func: "softmax", hidden_act: "silu" },
    },
    definition: { ...softmax, scale: 1.5 },
    shared,
  },
  {
    name: "deepseek_v3",
    ...deepseek,
    config: {
      model_type: "deepseek_v3",
      ...{ num_experts_per_tok: 3, n_routed_experts: 8, n_group: 4, topk_group: 2, topk_method: "noaux_tc" },
      ...{
        norm_topk_prob: true,
        routed_scaling_factor: 2.5,
        scoring_func: "sigmoid",
        hidden_act: "silu",
        num_hidden_layers: 2,
      },
    },
    definition: { ...corrected, groups: [4, 2], scale: 2.5 },
    others: [...dense, "model.layers.2.mlp.experts.0.down_proj.weight", "model.layers.2.mlp.gate.weight"],
  },
  {
    name: "deepseek_v32",
    ...deepseek,
    config: { model_type: "deepseek_v32", ...noGroups, n_group: 4, topk_group: 2 },
    definition: { ...corrected, groups: [4, 2], scale: 2.5 },
  },
  {
    name: "deepseek_v4",
    config: {
      model_type: "deepseek_v4",
      ...{ num_experts_per_tok: 3, scoring_func: "sqrtsoftplus", routed_scaling_factor: 1.5, swiglu_limit: 0.5 },
      ...{ num_hash_layers: 0, hidden_act: "silu" },
    },
    definition: { ...corrected, scores: "sqrtsoftplus", scale: 1.5, limit: 0.5 },
    base: "layers.1.ffn.",
    packing: "w1",
    router: "gate",
    correctionBias: "gate.bias",
    shared: { prefix: "layers.1.ffn.shared_experts.", packing: "w1" },
  },
  {
    name: "kimi_k2",
    ...deepseek,
    config: {
      model_type: "kimi_k2",
      ...noGroups,
      scoring_func: "sigmoid",
      topk_method: "noaux_tc",
      routed_scaling_factor: 2.827,
    },
    definition: { ...corrected, scale: 2.827 },
  },
  {
    name: "kimi_k25 (text_config)",
    ...deepseek,
    base: `language_model.${mlp}`,
    shared: { ...shared, prefix: `language_model.${mlp}shared_experts.` },
    config: {
      model_type: "kimi_k25",
      text_config: { model_type: "kimi_k2", ...noGroups, routed_scaling_factor: 2.827 },
    },
    definition: { ...corrected, scale: 2.827 },
  },
  {
    name: "kimi_linear",
    config: {
      model_type: "kimi_linear",
      ...{ num_experts_per_token: 3, num_experts: 8, num_expert_group: 1, topk_group: 1, moe_renormalize: true },
      ...{
        moe_router_activation_func: "sigmoid",
        routed_scaling_factor: 2.446,
        num_shared_experts: 1,
        hidden_act: "silu",
      },
    },
    definition: { ...corrected, scale: 2.446 },
    base: sparse,
    packing: "w1",
    router: "gate",
    correctionBias: "gate.e_score_correction_bias",
    shared: { prefix: `${sparse}shared_experts.`, packing: "gate_proj" },
  },
  {
    name: "glm4_moe",
    ...deepseek,
    config: { model_type: "glm4_moe", ...noGroups, routed_scaling_factor: 2.5 },
    definition: { ...corrected, scale: 2.5 },
  },
  {
    name: "glm4v_moe",
    ...deepseek,
    base: `model.language_model.${mlp.slice(6)}`,
    shared: { ...shared, prefix: `model.language_model.${mlp.slice(6)}shared_experts.` },
    config: { model_type: "glm4v_moe", text_config: { model_type: "glm4v_moe_text", ...noGroups } },
    definition: corrected,
  },
  {
    name: "glm4_moe_lite",
    ...deepseek,
    config: { model_type: "glm4_moe_lite", ...noGroups },
    definition: { ...corrected, scale: 1.8 },
  },
  {
    name: "glm_moe_dsa",
    ...deepseek,
    config: { model_type: "glm_moe_dsa", ...noGroups },
    definition: { ...corrected, scale: 2.5 },
  },
  {
    name: "dots1",
    ...deepseek,
    config: { model_type: "dots1", ...noGroups, scoring_func: "noaux_tc" },
    definition: { ...corrected, renormalize: false },
  },
  {
    name: "exaone_moe",
    ...deepseek,
    correctionBias: "e_score_correction_bias",
    config: { model_type: "exaone_moe", ...noGroups, num_experts: 8 },
    definition: { ...corrected, scale: 2.5 },
  },
  { name: "solar_open", ...deepseek, config: { model_type: "solar_open", ...noGroups }, definition: corrected },
  {
    name: "mimo_v2_flash",
    ...each,
    correctionBias: "gate.e_score_correction_bias",
    config: { model_type: "mimo_v2_flash", ...noGroups, routed_scaling_factor: null, moe_layer_freq: [0, 1] },
    definition: corrected,
  },
  {
    name: "nemotron_h",
    config: {
      model_type: "nemotron_h",
      ...{ ...noGroups, hidden_act: undefined, mlp_hidden_act: "relu2", mamba_hidden_act: "silu" },
      ...{ n_routed_experts: 8, routed_scaling_factor: 2.5, norm_topk_prob: true },
    },
    definition: { ...corrected, activation: "relu2", scale: 2.5 },
    gated: false,
    base: "backbone.layers.1.mixer.",
    packing: "gate_proj",
    router: "gate",
    correctionBias: "gate.e_score_correction_bias",
    shared: { prefix: "backbone.layers.1.mixer.shared_experts.", packing: "gate_proj" },
  },
  // Sigmoid without groups
  {
    name: "minimax_m2",
    ...mixtral,
    config: {
      model_type: "minimax_m2",
      num_experts_per_tok: 3,
      num_local_experts: 8,
      scoring_func: "sigmoid",
      hidden_act: "silu",
    },
    definition: corrected,
    correctionBias: "e_score_correction_bias",
  },
  {
    name: "minimax_m3_vl",
    config: {
      model_type: "minimax_m3_vl",
      text_config: {
        model_type: "minimax_m3_vl_text",
        ...{ num_experts_per_tok: 3, scoring_func: "sigmoid", hidden_act: "swigluoai", routed_scaling_factor: 2 },
        ...{ swiglu_alpha: 1.702, swiglu_limit: 0.5 },
      },
    },
    definition: { ...corrected, activation: "swigluoai", limit: 0.5, scale: 2 },
    base: `language_model.${sparse}`,
    packing: "w1",
    router: "gate",
    correctionBias: "e_score_correction_bias",
    shared: { prefix: `language_model.${sparse}shared_experts.`, packing: "gate_proj" },
  },
  {
    name: "afmoe",
    ...each,
    config: {
      model_type: "afmoe",
      ...{ num_experts_per_tok: 3, route_norm: true, route_scale: 2.448, score_func: "sigmoid", hidden_act: "silu" },
    },
    definition: { ...corrected, scale: 2.448 },
    router: "router.gate",
    correctionBias: "expert_bias",
    shared,
  },
  {
    name: "lfm2_moe",
    config: {
      model_type: "lfm2_moe",
      num_experts_per_tok: 3,
      num_experts: 8,
      norm_topk_prob: true,
      use_expert_bias: true,
      routed_scaling_factor: 1,
    },
    definition: corrected,
    base: forward,
    packing: "w1",
    router: "gate",
    correctionBias: "expert_bias",
  },
  {
    name: "step3p5",
    config: {
      model_type: "step3p5",
      ...{ moe_top_k: 3, moe_num_experts: 8, norm_expert_weight: true, moe_router_scaling_factor: 3 },
      ...{
        moe_router_activation: "sigmoid",
        use_moe_router_bias: true,
        swiglu_limits: [7, 0],
        swiglu_limits_shared: [16, 0],
      },
    },
    definition: { ...corrected, scale: 3 },
    base: "model.layers.1.moe.",
    packing: "step",
    router: "gate",
    correctionBias: "router_bias",
    shared: { prefix: "model.layers.1.share_expert.", packing: "gate_proj" },
  },
  {
    name: "llama4",
    config: {
      model_type: "llama4",
      text_config: { model_type: "llama4_text", num_experts_per_tok: 1, num_local_experts: 8, hidden_act: "silu" },
    },
    definition: { scores: "logits-sigmoid-input", topK: 1, activation: "silu" },
    base: `language_model.${forward}`,
    packing: "fused-in-out",
    router: "router",
    shared: { prefix: `language_model.${forward}shared_expert.`, packing: "gate_proj" },
  },
  // Softmax
  {
    name: "mixtral",
    ...mixtral,
    config: { model_type: "mixtral", num_experts_per_tok: 2, num_local_experts: 8, hidden_act: "silu" },
    definition: renormalized,
  },
  {
    name: "minimax",
    ...mixtral,
    config: { model_type: "minimax", num_experts_per_tok: 2, num_local_experts: 8, hidden_act: "silu" },
    definition: renormalized,
  },
  {
    name: "phimoe",
    ...mixtral,
    config: { model_type: "phimoe", num_experts_per_tok: 2, router_jitter_noise: 0.2, hidden_act: "silu" },
    definition: { scores: "sparse-mixer", topK: 2, jitter: 0.2, activation: "silu" },
  },
  {
    name: "gpt_oss",
    config: {
      model_type: "gpt_oss",
      num_experts_per_tok: 3,
      num_local_experts: 8,
      swiglu_limit: 0.7,
      hidden_act: "silu",
    },
    definition: { scores: "logits-softmax", topK: 3, activation: "swigluoai", limit: 0.7 },
    base: mlp,
    packing: "gpt-oss",
    router: "router",
    routerBias: "router.bias",
    biases: true,
  },
  {
    name: "granitemoe",
    config: { model_type: "granitemoe", num_experts_per_tok: 2, num_local_experts: 8, hidden_act: "silu" },
    definition: logits,
    base: sparse,
    packing: "granite",
    router: "router.layer",
  },
  ...["granitemoeshared", "granitemoehybrid"].map((type): Published => ({
    name: type,
    config: {
      model_type: type,
      num_experts_per_tok: 2,
      num_local_experts: 8,
      shared_intermediate_size: 64,
      hidden_act: "silu",
    },
    definition: logits,
    base: sparse,
    packing: "granite",
    router: "router.layer",
    shared: { prefix: "model.layers.1.shared_mlp.", packing: "granite" },
  })),
  {
    name: "aria",
    config: {
      model_type: "aria",
      text_config: { model_type: "aria_text", moe_topk: 3, moe_num_experts: 8, hidden_act: "silu" },
    },
    definition: { ...logits, topK: 3 },
    base: `language_model.${mlp}`,
    packing: "aria",
    router: "router",
    shared: { prefix: `language_model.${mlp}shared_experts.`, packing: "gate_proj" },
  },
  {
    name: "jamba",
    config: { model_type: "jamba", num_experts_per_tok: 2, num_experts: 8, hidden_act: "silu" },
    definition: softmax,
    base: forward,
    packing: "gate_proj",
    router: "router",
  },
  {
    name: "dbrx",
    config: {
      model_type: "dbrx",
      ffn_config: { moe_top_k: 3, moe_num_experts: 8, moe_normalize_expert_weights: 1.0, ffn_act_fn: { name: "silu" } },
    },
    definition: { ...renormalized, topK: 3 },
    base: "transformer.blocks.1.ffn.",
    packing: "dbrx",
    router: "router.layer",
  },
  {
    name: "arctic",
    ...mixtral,
    config: {
      model_type: "arctic",
      num_experts_per_tok: 2,
      num_local_experts: 8,
      moe_layer_frequency: 2,
      hidden_act: "silu",
    },
    definition: renormalized,
    others: ["model.layers.1.residual_mlp.w2.weight"],
  },
];
