import { type Family, gatedExperts, key, softmaxRouter } from "./family.ts";
import { transformers } from "./sources.ts";

/** Qwen, and families with the same layer. */
export const qwen: readonly Family[] = [
  {
    types: ["qwen2_moe"],
    sources: [transformers.qwen2_moe],
    router: softmaxRouter(key("norm_topk_prob", false)),
    experts: gatedExperts,
  },
  {
    types: ["qwen3_moe", "qwen3_omni_moe_talker_text"],
    sources: [transformers.qwen3_moe, transformers.qwen3_omni_moe],
    router: softmaxRouter(key("norm_topk_prob", false)),
    experts: gatedExperts,
  },
  {
    types: ["qwen3_next", "qwen3_omni_moe_text"],
    sources: [transformers.qwen3_next, transformers.qwen3_omni_moe],
    router: softmaxRouter(key("norm_topk_prob", true)),
    experts: gatedExperts,
  },
  {
    types: [
      ...["qwen3_5_moe", "qwen3_5_moe_text", "qwen3_6_moe", "qwen3_6_moe_text", "qwen3_vl_moe", "qwen3_vl_moe_text"],
    ],
    sources: [transformers.qwen3_5_moe, transformers.qwen3_vl_moe],
    router: softmaxRouter(true),
    experts: gatedExperts,
  },
  {
    types: ["olmoe", "flex_olmo"],
    sources: [transformers.olmoe, transformers.flex_olmo],
    router: softmaxRouter(key("norm_topk_prob", false)),
    experts: gatedExperts,
  },
  {
    types: ["ernie4_5_moe"],
    sources: [transformers.ernie4_5_moe],
    router: { ...softmaxRouter(true), topK: key<number | undefined>(["moe_k", "num_experts_per_tok"], undefined) },
    experts: gatedExperts,
  },
  {
    types: ["ernie4_5_vl_moe", "ernie4_5_moe_vl", "ernie4_5_vl_moe_text"],
    sources: [transformers.ernie4_5_vl_moe],
    refusal: "its layers have one set of experts for text and one for images",
    router: softmaxRouter(true),
    experts: gatedExperts,
  },
  {
    types: ["hunyuan_v1_moe", "hunyuan"],
    sources: [transformers.hunyuan_v1_moe],
    router: { ...softmaxRouter(true), topK: key<number | undefined>(["moe_topk", "num_experts_per_tok"], undefined) },
    experts: gatedExperts,
  },
];
