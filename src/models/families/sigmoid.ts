import { type Family, gatedExperts, key, topK } from "./family.ts";

/** The router of MiniMax-M2 and others: sigmoid scores, a correction bias, no groups. */
const sigmoidRouter = { kind: "sigmoid", topK } as const;

/** Families that score with a sigmoid and have no groups of experts. */
export const sigmoid: readonly Family[] = [
  {
    types: ["minimax_m2"],
    source: "transformers 5.18.0, models/minimax_m2/modeling_minimax_m2.py",
    router: sigmoidRouter,
    experts: gatedExperts,
  },
  {
    types: ["minimax_m3", "minimax_m3_vl", "minimax_m3_vl_text"],
    source: "transformers 5.18.0, models/minimax_m3_vl/{configuration,modeling}_minimax_m3_vl.py",
    router: { ...sigmoidRouter, scale: key("routed_scaling_factor", 2) },
    experts: {
      activation: "swiglu-oai",
      alpha: key("swiglu_alpha", 1.702),
      limit: key<number | undefined>("swiglu_limit", 7),
    },
  },
  {
    types: ["afmoe"],
    source:
      "transformers 5.18.0, models/afmoe/{configuration,modeling}_afmoe.py; route_norm and n_group: vllm's afmoe.py",
    router: { ...sigmoidRouter, renormalize: key("route_norm", true), scale: key("route_scale", 1) },
    experts: gatedExperts,
  },
  {
    types: ["lfm2_moe"],
    source: "transformers 5.18.0, models/lfm2_moe/{configuration,modeling}_lfm2_moe.py",
    router: {
      ...sigmoidRouter,
      renormalize: key("norm_topk_prob", true),
      epsilon: 1e-6,
      scale: key("routed_scaling_factor", 1),
    },
    experts: { activation: "silu" },
  },
  {
    types: ["step3p5", "step3p7"],
    source:
      "vllm 01b50b9, vllm/model_executor/models/step3p5.py; transformers 5.18.0, models/step3p7/modeling_step3p7.py",
    router: {
      ...sigmoidRouter,
      topK: key<number | undefined>(["moe_top_k", "num_experts_per_tok"], undefined),
      renormalize: key("norm_expert_weight", true),
      scale: key("moe_router_scaling_factor", 1),
    },
    experts: gatedExperts,
    refusals: ["swiglu_limits", "swiglu_limits_shared"].map((key) => ({
      key,
      unless: [0],
      reason: "the experts of this layer are clamped after the activation",
    })),
  },
  {
    types: ["llama4", "llama4_text"],
    source: "transformers 5.18.0, models/llama4/{configuration,modeling}_llama4.py",
    router: { kind: "sigmoid-input", topK: key<number | undefined>("num_experts_per_tok", 1) },
    experts: gatedExperts,
  },
];
