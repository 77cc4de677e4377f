import {
  activations,
  clampedExperts,
  type Family,
  gatedExperts,
  key,
  logitsRouter,
  mixtralRouter,
  softmaxRouter,
  topK,
} from "./family.ts";

const capped = "the router caps its logits with a hyperbolic tangent";
const relu = "its experts' activation, ReLU, is not supported, and neither is a capacity for each sequence";

/** Mixtral, gpt-oss, Granite, and other families that weigh with a softmax. */
export const softmax: readonly Family[] = [
  {
    types: ["mixtral", "minimax", "minimax_text_01", "minimax_m1"],
    source: "transformers 5.18.0, models/{mixtral,minimax}/modeling_*.py",
    router: mixtralRouter,
    experts: clampedExperts,
  },
  {
    types: ["phimoe"],
    source: "transformers 5.18.0, models/phimoe/{configuration,modeling}_phimoe.py",
    router: { kind: "sparse-mixer", topK, jitter: key("router_jitter_noise", 0.01) },
    experts: gatedExperts,
  },
  {
    types: ["gpt_oss"],
    source: "transformers 5.18.0, models/gpt_oss/modeling_gpt_oss.py; keys of openai/gpt-oss, gpt_oss/torch/model.py",
    router: { ...logitsRouter, topK: key<number | undefined>(["num_experts_per_tok", "experts_per_token"], undefined) },
    experts: {
      activation: "swiglu-oai",
      limit: key<number | undefined>("swiglu_limit", 7),
      gateUpLayout: "interleaved",
    },
  },
  {
    types: ["granitemoe", "granitemoeshared", "granitemoehybrid"],
    source: "transformers 5.18.0, models/{granitemoe,granitemoeshared,granitemoehybrid}/modeling_*.py",
    router: logitsRouter,
    experts: gatedExperts,
  },
  {
    types: ["aria", "aria_text"],
    source: "transformers 5.18.0, models/aria/{configuration,modeling}_aria.py",
    router: { ...logitsRouter, topK: key<number | undefined>(["moe_topk", "num_experts_per_tok"], 2) },
    experts: gatedExperts,
  },
  {
    types: ["jamba"],
    source: "transformers 5.18.0, models/jamba/modeling_jamba.py",
    router: softmaxRouter(false),
    experts: gatedExperts,
  },
  {
    types: ["dbrx"],
    source: "transformers 5.18.0, models/dbrx/{configuration,modeling}_dbrx.py",
    nested: "ffn_config",
    router: {
      kind: "softmax",
      topK: key<number | undefined>("moe_top_k", 1),
      renormalize: { keys: ["moe_normalize_expert_weights"], absent: true, null: false, values: { 1: true } },
    },
    experts: { activation: { keys: ["ffn_act_fn"], absent: "silu", values: activations } },
  },
  {
    types: ["arctic"],
    source: "vllm 00db011, vllm/model_executor/models/arctic.py: weights are renormalized if there is more than one",
    router: mixtralRouter,
    experts: gatedExperts,
    refusals: [{
      key: "num_experts_per_tok",
      only: [1],
      reason: "weights are not renormalized for one expert per token",
    }],
  },
  {
    types: ["gemma4", "gemma4_text", "gemma4_unified", "gemma4_unified_text"],
    source: "transformers 5.18.0, models/gemma4/modeling_gemma4.py",
    refusal: "its router and its experts take different inputs, and the router normalizes and scales its own",
    router: softmaxRouter(true),
    experts: gatedExperts,
  },
  {
    types: ["grok-1", "grok_1", "grok1", "grok-2", "grok"],
    source: "vllm 02082de, vllm/model_executor/models/grok1.py",
    refusal: capped,
    router: softmaxRouter(true),
    experts: gatedExperts,
  },
  {
    types: ["switch_transformers", "nllb-moe", "nllb_moe"],
    source: "transformers 5.18.0, models/{switch_transformers,nllb_moe}/modeling_*.py",
    refusal: relu,
    router: softmaxRouter(false),
    experts: gatedExperts,
  },
];
