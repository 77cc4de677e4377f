import {
  activations,
  correctedRouter,
  type Family,
  gatedExperts,
  key,
  scorings,
  type Setting,
  topK,
} from "./family.ts";
import { transformers, vllm } from "./sources.ts";

/** The groups of DeepSeek-V3: four of eight. With null, its code has no groups. */
const fourOfEight = {
  groups: { keys: ["n_group"], absent: 8, null: 1 },
  topGroups: { keys: ["topk_group"], absent: 4, null: undefined },
} as const;

const hash = "sqrt-softplus" as const;

/** A limit of 10. With null, the experts are not clamped. */
const limitOfTen: Setting<number | undefined> = { keys: ["swiglu_limit"], absent: 10, null: undefined };

/** DeepSeek, and families whose router corrects the scores by a bias for the choice. */
export const deepseek: readonly Family[] = [
  {
    types: ["deepseek_v2", "deepseek"],
    sources: [transformers.deepseek_v2, vllm.deepseek_v2],
    router: {
      kind: {
        keys: ["topk_method"],
        absent: "softmax",
        values: {
          greedy: "softmax",
          gready: "softmax",
          group_limited_greedy: "softmax-grouped",
          noaux_tc: "sigmoid-grouped",
        },
      },
      topK: topK(),
      renormalize: key("norm_topk_prob", false),
      scale: key("routed_scaling_factor", 1),
      groups: key("n_group", 1),
      topGroups: key<number | undefined>("topk_group", undefined),
    },
    experts: gatedExperts,
  },
  {
    types: ["deepseek_v3", "deepseek_v32", "kimi_k2"],
    sources: [transformers.deepseek_v3, transformers.deepseek_v32],
    router: {
      ...correctedRouter,
      scale: key("routed_scaling_factor", 2.5),
      ...fourOfEight,
    },
    experts: gatedExperts,
  },
  {
    types: ["deepseek_v4"],
    sources: [transformers.deepseek_v4],
    router: {
      kind: {
        keys: ["scoring_func"],
        absent: hash,
        values: { sqrtsoftplus: hash, sigmoid: "sigmoid", softmax: "softmax" },
      },
      topK: topK(6),
      scale: key("routed_scaling_factor", 1.5),
    },
    experts: { ...gatedExperts, limit: limitOfTen },
  },
  {
    types: ["kimi_linear"],
    sources: [transformers.kimi_linear],
    router: {
      ...correctedRouter,
      topK: topK(8, ["num_experts_per_token", "num_experts_per_tok"]),
      renormalize: key(["moe_renormalize", "norm_topk_prob"], true),
      scale: key("routed_scaling_factor", 2.446),
      groups: key(["num_expert_group", "n_group"], 1),
    },
    experts: gatedExperts,
  },
  {
    types: ["glm4_moe", "glm4v_moe", "glm4v_moe_text", "solar_open", "mimo_v2_flash", "mimo_v2"],
    sources: [
      transformers.glm4_moe,
      transformers.glm4v_moe,
      transformers.solar_open,
      transformers.mimo_v2_flash,
      vllm.mimo_v2_flash,
    ],
    router: correctedRouter,
    experts: gatedExperts,
  },
  {
    types: ["glm4_moe_lite"],
    sources: [transformers.glm4_moe_lite],
    router: { ...correctedRouter, topK: topK(4), scale: key("routed_scaling_factor", 1.8) },
    experts: gatedExperts,
  },
  {
    types: ["glm_moe_dsa", "exaone_moe"],
    sources: [transformers.glm_moe_dsa, transformers.exaone_moe],
    router: { ...correctedRouter, scale: key("routed_scaling_factor", 2.5) },
    experts: gatedExperts,
  },
  {
    types: ["axk2"],
    sources: [transformers.axk2],
    router: { ...correctedRouter, scale: key("routed_scaling_factor", 2.5) },
    experts: gatedExperts,
    refusals: [{ key: "n_group", unless: [1], reason: "experts outside the chosen groups have the score 0" }],
  },
  {
    types: ["glm5_next", "glm5_next_text"],
    sources: [transformers.glm5_next],
    router: { ...correctedRouter, scale: key("routed_scaling_factor", 2.5) },
    experts: { ...gatedExperts, limit: limitOfTen },
  },
  {
    types: ["dots1"],
    sources: [transformers.dots1],
    router: { ...correctedRouter, topK: topK(), renormalize: key("norm_topk_prob", false) },
    experts: gatedExperts,
  },
  {
    types: ["bailing_moe_v2", "bailing_moe_linear", "bailing_hybrid"],
    sources: [vllm.bailing_moe],
    router: {
      ...correctedRouter,
      topK: topK(),
      scale: key("routed_scaling_factor", 2.5),
      ...fourOfEight,
    },
    experts: gatedExperts,
  },
  {
    types: ["bailing_moe"], // Ling and Ring 1; Ling 2 too, with a score_function
    sources: [vllm.bailing_moe],
    router: {
      ...correctedRouter,
      topK: topK(),
      kind: { keys: ["score_function", "scoring_func"], absent: "softmax", values: scorings },
    },
    experts: gatedExperts,
  },
  {
    types: ["nemotron_h"],
    sources: [transformers.nemotron_h],
    router: { ...correctedRouter, topK: topK(2) },
    experts: {
      activation: { keys: ["mlp_hidden_act"], absent: "relu2", values: activations },
      gated: false,
      weightLayout: "out-in",
    },
  },
];
