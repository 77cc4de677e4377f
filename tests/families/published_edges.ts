// Recent families, and families with values that few models have: one expert for each token, groups with another score.
import type { Published } from "./checkpoints.ts";
import {
  corrected,
  deepseek,
  each,
  gatedShared,
  mixtral,
  mlp,
  noGroups,
  qwen,
  renormalized,
  shared,
  softmax,
} from "./published_parts.ts";

/** Checkpoints of such families. */
export const edges: readonly Published[] = [
  {
    name: "mellum",
    ...each,
    config: { model_type: "mellum", num_experts: 8, num_experts_per_tok: 2, hidden_act: "silu" },
    definition: renormalized,
  },
  {
    name: "qwen4_exp (text_config)",
    base: "model.language_model.layers.1.mlp.",
    packing: "fused-out-in",
    router: "gate",
    shared: { ...gatedShared, prefix: "model.language_model.layers.1.mlp.shared_expert." },
    config: { model_type: "qwen4_exp", text_config: { model_type: "qwen4_exp_text", ...qwen, norm_topk_prob: false } },
    definition: softmax,
  },
  {
    name: "mistral4 (text_config)",
    ...{ ...each, base: "language_model.model.layers.1.mlp.", others: [] },
    shared: { ...shared, prefix: "language_model.model.layers.1.mlp.shared_experts." },
    config: {
      model_type: "mistral3",
      text_config: {
        model_type: "mistral4",
        ...{ n_routed_experts: 8, num_experts_per_tok: 3, n_group: 1, topk_group: 1, hidden_act: "silu" },
        ...{ norm_topk_prob: true, routed_scaling_factor: 1.5 },
      },
    },
    definition: { ...renormalized, topK: 3, scale: 1.5 },
  },
  {
    name: "axk2",
    ...deepseek,
    config: { model_type: "axk2", num_experts_per_tok: 3, n_group: null, topk_group: null, hidden_act: "silu" },
    definition: { ...corrected, scale: 2.5 },
  },
  {
    name: "glm5_next",
    ...{ base: "model.language_model.layers.1.mlp.", packing: "gate_proj", router: "gate" },
    correctionBias: "gate.e_score_correction_bias",
    shared: { ...shared, prefix: "model.language_model.layers.1.mlp.shared_experts." },
    config: {
      model_type: "glm5_next",
      text_config: { model_type: "glm5_next_text", ...noGroups, swiglu_limit: 0.3, norm_topk_prob: true },
    },
    definition: { ...corrected, scale: 2.5, limit: 0.3 },
  },
  {
    name: "hy_v3",
    ...{ ...each, router: "router.gate", correctionBias: "expert_bias" },
    shared: { ...shared, prefix: `${mlp}shared_mlp.` },
    config: { model_type: "hy_v3", num_experts: 8, num_experts_per_tok: 3, hidden_act: "silu" },
    definition: { ...corrected, scale: 2.826 },
  },
  {
    name: "laguna",
    ...{ ...each, correctionBias: "experts.e_score_correction_bias" },
    shared: { ...shared, prefix: `${mlp}shared_expert.` },
    config: {
      model_type: "laguna",
      ...{ num_experts: 8, num_experts_per_tok: 3, hidden_act: "silu", moe_router_logit_softcapping: 1.5 },
      ...{ moe_routed_scaling_factor: 2, moe_apply_router_weight_on_input: false },
    },
    definition: { ...corrected, scale: 2, logitCap: 1.5 },
  },
  {
    name: "hunyuan (Hunyuan-Large), one expert",
    ...each,
    config: { model_type: "hunyuan", num_experts: 8, moe_topk: 1, num_shared_expert: 1, hidden_act: "silu" },
    definition: { ...softmax, topK: 1 },
    router: "gate.wg",
    shared: { ...shared, prefix: `${mlp}shared_mlp.` },
  },
  {
    name: "arctic, one expert",
    ...mixtral,
    config: { model_type: "arctic", num_experts_per_tok: 1, num_local_experts: 8, hidden_act: "silu" },
    definition: { ...softmax, topK: 1 },
  },
  {
    name: "bailing_moe, softmax and groups",
    ...{ ...each, shared },
    config: {
      model_type: "bailing_moe",
      ...{ num_experts: 8, num_experts_per_tok: 3, n_group: 4, topk_group: 2, norm_topk_prob: true },
      ...{ score_function: "softmax", routed_scaling_factor: 2.5, hidden_act: "silu" },
    },
    definition: { ...renormalized, topK: 3, groups: [4, 2, 1], scale: 2.5 },
  },
  {
    name: "deepseek_v3, groups of null",
    ...deepseek,
    config: { model_type: "deepseek_v3", num_experts_per_tok: 3, n_group: null, topk_group: null },
    definition: { ...corrected, scale: 2.5 },
  },
];
