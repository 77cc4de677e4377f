import { type Family, gatedExperts, key, softmaxRouter, topK } from "./family.ts";
import { transformers, vllm } from "./sources.ts";

/** Qwen, and families with the same layer. */
export const qwen: readonly Family[] = [
  {
    types: ["qwen2_moe"],
    sources: [transformers.qwen2_moe],
    router: softmaxRouter(key("norm_topk_prob", false), topK(4)),
    experts: gatedExperts,
  },
  {
    types: ["qwen3_moe", "qwen3_omni_moe_talker_text"],
    sources: [transformers.qwen3_moe, transformers.qwen3_omni_moe],
    router: softmaxRouter(key("norm_topk_prob", false), topK(8)),
    experts: gatedExperts,
  },
  {
    types: ["qwen3_next"],
    sources: [transformers.qwen3_next],
    router: softmaxRouter(key("norm_topk_prob", true), topK(10)),
    experts: gatedExperts,
  },
  {
    types: ["qwen4_exp", "qwen4_exp_text"],
    sources: [transformers.qwen4_exp],
    router: softmaxRouter(key("norm_topk_prob", true), topK(10)),
    experts: gatedExperts,
  },
  {
    types: ["mellum"],
    sources: [transformers.mellum],
    router: softmaxRouter(key("norm_topk_prob", true), topK(8)),
    experts: gatedExperts,
  },
  {
    types: ["mistral4"],
    sources: [transformers.mistral4],
    router: {
      ...softmaxRouter(key("norm_topk_prob", true), topK(4)),
      scale: key("routed_scaling_factor", 1),
    },
    experts: gatedExperts,
    refusals: [{
      key: "n_group",
      unless: [1],
      reason: "groups of experts are ranked by the sum of their two best softmax scores",
    }],
  },
  {
    types: ["qwen3_omni_moe_text"],
    sources: [transformers.qwen3_omni_moe],
    router: softmaxRouter(key("norm_topk_prob", true), topK(8)),
    experts: gatedExperts,
  },
  {
    types: ["qwen3_5_moe", "qwen3_5_moe_text", "qwen3_6_moe", "qwen3_6_moe_text"],
    sources: [transformers.qwen3_5_moe],
    router: softmaxRouter(true, topK(8)),
    experts: gatedExperts,
  },
  {
    types: ["qwen3_vl_moe", "qwen3_vl_moe_text"],
    sources: [transformers.qwen3_vl_moe],
    router: softmaxRouter(true, topK(4)),
    experts: gatedExperts,
  },
  {
    types: ["olmoe"],
    sources: [transformers.olmoe],
    router: softmaxRouter(key("norm_topk_prob", false), topK(8)),
    experts: gatedExperts,
  },
  {
    types: ["flex_olmo"],
    sources: [transformers.flex_olmo],
    router: softmaxRouter(key("norm_topk_prob", false), topK(5)),
    experts: gatedExperts,
  },
  {
    types: ["ernie4_5_moe"],
    sources: [transformers.ernie4_5_moe],
    router: softmaxRouter(true, topK(6, ["moe_k", "num_experts_per_tok"])),
    experts: gatedExperts,
  },
  {
    types: ["ernie4_5_vl_moe", "ernie4_5_moe_vl", "ernie4_5_vl_moe_text"],
    sources: [transformers.ernie4_5_vl_moe],
    refusal: "its layers have one set of experts for text and one for images",
    router: softmaxRouter(true, topK()),
    experts: gatedExperts,
  },
  {
    types: ["hunyuan_v1_moe"],
    sources: [transformers.hunyuan_v1_moe],
    router: softmaxRouter(true, topK(1, ["moe_topk", "num_experts_per_tok"])),
    experts: gatedExperts,
  },
  {
    types: ["hunyuan"], // Hunyuan-Large, with one expert for each token
    sources: [vllm.hunyuan_v1],
    router: { ...softmaxRouter(true, topK(1, ["moe_topk", "num_experts_per_tok"])), keepsOnlyWeight: true },
    experts: gatedExperts,
  },
];
