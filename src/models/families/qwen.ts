import { type Family, gatedExperts, key, softmaxRouter } from "./family.ts";

/** Qwen, and families with the same layer. */
export const qwen: readonly Family[] = [
  {
    types: ["qwen2_moe"],
    source: "transformers 5.18.0, models/qwen2_moe/{configuration,modeling}_qwen2_moe.py",
    router: softmaxRouter(key("norm_topk_prob", false)),
    experts: gatedExperts,
  },
  {
    types: ["qwen3_moe", "qwen3_omni_moe_talker_text"],
    source: "transformers 5.18.0, models/qwen3_moe/{configuration,modeling}_qwen3_moe.py",
    router: softmaxRouter(key("norm_topk_prob", false)),
    experts: gatedExperts,
  },
  {
    types: ["qwen3_next", "qwen3_omni_moe_text"],
    source:
      "transformers 5.18.0, models/qwen3_next/configuration_qwen3_next.py, models/qwen3_omni_moe/configuration_qwen3_omni_moe.py",
    router: softmaxRouter(key("norm_topk_prob", true)),
    experts: gatedExperts,
  },
  {
    types: [
      ...["qwen3_5_moe", "qwen3_5_moe_text", "qwen3_6_moe", "qwen3_6_moe_text", "qwen3_vl_moe", "qwen3_vl_moe_text"],
    ],
    source:
      "transformers 5.18.0, models/{qwen3_5_moe,qwen3_vl_moe}/modeling_*.py: the router renormalizes whatever config.json says",
    router: softmaxRouter(true),
    experts: gatedExperts,
  },
  {
    types: ["olmoe", "flex_olmo"],
    source: "transformers 5.18.0, models/{olmoe,flex_olmo}/{configuration,modeling}_*.py",
    router: softmaxRouter(key("norm_topk_prob", false)),
    experts: gatedExperts,
  },
  {
    types: ["ernie4_5_moe"],
    source: "transformers 5.18.0, models/ernie4_5_moe/{configuration,modeling}_ernie4_5_moe.py",
    router: { ...softmaxRouter(true), topK: key<number | undefined>(["moe_k", "num_experts_per_tok"], undefined) },
    experts: gatedExperts,
  },
  {
    types: ["ernie4_5_vl_moe", "ernie4_5_moe_vl", "ernie4_5_vl_moe_text"],
    source: "transformers 5.18.0, models/ernie4_5_vl_moe/modeling_ernie4_5_vl_moe.py",
    refusal: "its layers have one set of experts for text and one for images",
    router: softmaxRouter(true),
    experts: gatedExperts,
  },
  {
    types: ["hunyuan_v1_moe", "hunyuan"],
    source: "transformers 5.18.0, models/hunyuan_v1_moe/{configuration,modeling}_hunyuan_v1_moe.py",
    router: { ...softmaxRouter(true), topK: key<number | undefined>(["moe_topk", "num_experts_per_tok"], undefined) },
    experts: gatedExperts,
  },
];
