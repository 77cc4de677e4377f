import { type Family, gatedExperts, key, topK } from "./family.ts";
import { transformers, vllm } from "./sources.ts";

/** The router of MiniMax-M2 and others: sigmoid scores, a correction bias, no groups. */
const sigmoidRouter = (count: number) => ({ kind: "sigmoid", topK: topK(count) }) as const;

/** Families that score with a sigmoid and have no groups of experts. */
export const sigmoid: readonly Family[] = [
  {
    types: ["minimax_m2"],
    sources: [transformers.minimax_m2],
    router: sigmoidRouter(8),
    experts: gatedExperts,
  },
  {
    types: ["minimax_m3", "minimax_m3_vl", "minimax_m3_vl_text"],
    sources: [transformers.minimax_m3_vl],
    router: { ...sigmoidRouter(4), scale: key("routed_scaling_factor", 2) },
    experts: {
      activation: "swiglu-oai",
      alpha: key("swiglu_alpha", 1.702),
      limit: key<number | undefined>("swiglu_limit", 7),
    },
  },
  {
    types: ["afmoe"],
    sources: [transformers.afmoe, vllm.afmoe],
    router: { ...sigmoidRouter(6), renormalize: key("route_norm", true), scale: key("route_scale", 1) },
    experts: gatedExperts,
  },
  {
    types: ["hy_v3"],
    sources: [transformers.hy_v3],
    router: { ...sigmoidRouter(8), scale: key("router_scaling_factor", 2.826) },
    experts: gatedExperts,
  },
  {
    types: ["laguna"],
    sources: [transformers.laguna],
    router: {
      ...sigmoidRouter(8),
      scale: key("moe_routed_scaling_factor", 1),
      logitCap: key<number | undefined>("moe_router_logit_softcapping", undefined),
    },
    experts: gatedExperts,
  },
  {
    types: ["longcat_flash"],
    sources: [transformers.longcat_flash],
    refusal: "some of its experts return their input as it is",
    router: sigmoidRouter(12),
    experts: gatedExperts,
  },
  {
    types: ["lfm2_moe"],
    sources: [transformers.lfm2_moe],
    router: {
      ...sigmoidRouter(4),
      renormalize: key("norm_topk_prob", true),
      epsilon: 1e-6,
      scale: key("routed_scaling_factor", 1),
    },
    experts: { activation: "silu" },
  },
  {
    types: ["step3p5", "step3p7"],
    sources: [vllm.step3p5, transformers.step3p7],
    router: {
      kind: "sigmoid",
      topK: topK(8, ["moe_top_k", "num_experts_per_tok"]),
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
    sources: [transformers.llama4],
    router: { kind: "sigmoid-input", topK: topK(1) },
    experts: gatedExperts,
  },
];
