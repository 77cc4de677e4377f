import {
  activations,
  clampedExperts,
  correctedRouter,
  type Family,
  gatedExperts,
  key,
  scorings,
  topK,
} from "./family.ts";

const hash = "sqrt-softplus" as const;

/** DeepSeek, and families whose router corrects the scores by a bias for the choice. */
export const deepseek: readonly Family[] = [
  {
    types: ["deepseek_v2", "deepseek"],
    source:
      "transformers 5.18.0, models/deepseek_v2/modeling_deepseek_v2.py; norm_topk_prob as in the model's own code and vllm's deepseek_v2.py",
    router: {
      kind: {
        keys: ["topk_method"],
        absent: "softmax",
        values: { greedy: "softmax", group_limited_greedy: "softmax-grouped", noaux_tc: "sigmoid-grouped" },
      },
      topK,
      renormalize: key("norm_topk_prob", false),
      scale: key("routed_scaling_factor", 1),
      groups: key("n_group", 1),
      topGroups: key<number | undefined>("topk_group", undefined),
    },
    experts: gatedExperts,
  },
  {
    types: ["deepseek_v3", "deepseek_v32", "kimi_k2"],
    source:
      "transformers 5.18.0, models/deepseek_v3/{configuration,modeling}_deepseek_v3.py, models/deepseek_v32/modeling_deepseek_v32.py",
    router: {
      ...correctedRouter,
      scale: key("routed_scaling_factor", 2.5),
      groups: key("n_group", 8),
      topGroups: key<number | undefined>("topk_group", 4),
    },
    experts: gatedExperts,
  },
  {
    types: ["deepseek_v4"],
    source: "transformers 5.18.0, models/deepseek_v4/{configuration,modeling}_deepseek_v4.py",
    router: {
      kind: {
        keys: ["scoring_func"],
        absent: hash,
        values: { sqrtsoftplus: hash, sigmoid: "sigmoid", softmax: "softmax" },
      },
      topK,
      scale: key("routed_scaling_factor", 1.5),
    },
    experts: { ...clampedExperts, limit: key<number | undefined>("swiglu_limit", 10) },
  },
  {
    types: ["kimi_linear"],
    source: "transformers 5.18.0, models/kimi_linear/{configuration,modeling}_kimi_linear.py",
    router: {
      ...correctedRouter,
      topK: key<number | undefined>(["num_experts_per_token", "num_experts_per_tok"], undefined),
      renormalize: key(["moe_renormalize", "norm_topk_prob"], true),
      scale: key("routed_scaling_factor", 2.446),
      groups: key(["num_expert_group", "n_group"], 1),
    },
    experts: gatedExperts,
  },
  {
    types: ["glm4_moe", "glm4v_moe", "glm4v_moe_text", "solar_open", "mimo_v2_flash", "mimo_v2"],
    source: "transformers 5.18.0, models/{glm4_moe,glm4v_moe,solar_open,mimo_v2_flash}/{configuration,modeling}_*.py",
    router: correctedRouter,
    experts: gatedExperts,
  },
  {
    types: ["glm4_moe_lite"],
    source: "transformers 5.18.0, models/glm4_moe_lite/configuration_glm4_moe_lite.py",
    router: { ...correctedRouter, scale: key("routed_scaling_factor", 1.8) },
    experts: gatedExperts,
  },
  {
    types: ["glm_moe_dsa", "exaone_moe"],
    source: "transformers 5.18.0, models/{glm_moe_dsa,exaone_moe}/configuration_*.py",
    router: { ...correctedRouter, scale: key("routed_scaling_factor", 2.5) },
    experts: gatedExperts,
  },
  {
    types: ["dots1"],
    source: "transformers 5.18.0, models/dots1/{configuration,modeling}_dots1.py",
    router: { ...correctedRouter, renormalize: key("norm_topk_prob", false) },
    experts: gatedExperts,
  },
  {
    types: ["bailing_moe", "bailing_moe_v2", "bailing_moe_linear", "bailing_hybrid"],
    source: "vllm 0056661, models/bailing_moe.py: Ling and Ring 1; huggingface.co/inclusionAI/Ling-mini-2.0, " +
      "modeling_bailing_moe_v2.py: its configuration says model_type bailing_moe too",
    router: {
      ...correctedRouter,
      kind: { keys: ["score_function", "scoring_func"], absent: "softmax", values: scorings },
    },
    experts: gatedExperts,
  },
  {
    types: ["nemotron_h"],
    source: "transformers 5.18.0, models/nemotron_h/{configuration,modeling}_nemotron_h.py",
    router: correctedRouter,
    experts: {
      activation: { keys: ["mlp_hidden_act"], absent: "relu2", values: activations },
      gated: false,
    },
    refusals: [{
      key: "moe_latent_size",
      reason: "the experts work on a projection of the hidden states (latent experts)",
    }],
  },
];
