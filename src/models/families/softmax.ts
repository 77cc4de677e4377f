import { activations, clampedExperts, type Family, gatedExperts, key, softmaxRouter, topK } from "./family.ts";
import { transformers, vllm } from "./sources.ts";

const grokRouter = (renormalizes: boolean) => ({
  ...softmaxRouter(key(["moe_router_renormalize", "moe_renormalize"], renormalizes), topK(2)),
  logitCap: key<number | undefined>("router_logit_softcapping", 30),
});

/** Mixtral, gpt-oss, Granite, and other families that weigh with a softmax. */
export const softmax: readonly Family[] = [
  {
    types: ["mixtral", "minimax", "minimax_text_01", "minimax_m1"],
    sources: [transformers.mixtral, transformers.minimax],
    router: softmaxRouter(true, topK(2)),
    experts: clampedExperts,
  },
  {
    types: ["phimoe"],
    sources: [transformers.phimoe],
    router: { kind: "sparse-mixer", topK: topK(2), jitter: key("router_jitter_noise", 0.01) },
    experts: gatedExperts,
  },
  {
    types: ["gpt_oss"],
    sources: [transformers.gpt_oss],
    router: { kind: "topk-softmax", topK: topK(4, ["num_experts_per_tok", "experts_per_token"]) },
    experts: {
      activation: "swiglu-oai",
      limit: key<number | undefined>("swiglu_limit", 7),
      gateUpLayout: "interleaved",
    },
  },
  {
    types: ["granitemoe", "granitemoeshared", "granitemoehybrid"],
    sources: [transformers.granitemoe, transformers.granitemoeshared, transformers.granitemoehybrid],
    router: { kind: "topk-softmax", topK: topK(2) },
    experts: gatedExperts,
  },
  {
    types: ["aria", "aria_text"],
    sources: [transformers.aria],
    router: { kind: "topk-softmax", topK: topK(2, ["moe_topk", "num_experts_per_tok"]) },
    experts: gatedExperts,
  },
  {
    types: ["jamba"],
    sources: [transformers.jamba],
    router: softmaxRouter(false, topK(2)),
    experts: gatedExperts,
  },
  {
    types: ["dbrx"],
    sources: [transformers.dbrx],
    nested: "ffn_config",
    router: {
      kind: "softmax",
      topK: topK(1, "moe_top_k"),
      renormalize: { keys: ["moe_normalize_expert_weights"], absent: true, null: false, values: { 1: true } },
    },
    experts: { activation: { keys: ["ffn_act_fn"], absent: "silu", values: activations } },
  },
  {
    types: ["arctic"],
    sources: [vllm.arctic],
    router: { ...softmaxRouter(true, topK()), keepsOnlyWeight: true },
    experts: gatedExperts,
  },
  {
    types: ["gemma4", "gemma4_text", "gemma4_unified", "gemma4_unified_text"],
    sources: [transformers.gemma4],
    router: softmaxRouter(true, topK(undefined, ["top_k_experts", "num_experts_per_tok"])),
    experts: {
      activation: { keys: ["hidden_activation", "hidden_act"], absent: "gelu-tanh", values: activations },
      weightLayout: "out-in",
    },
    normEpsilon: key("rms_norm_eps", 1e-6),
  },
  {
    types: ["grok-1", "grok_1", "grok1"],
    sources: [vllm.grok1],
    router: grokRouter(true),
    experts: { activation: "gelu", weightLayout: "out-in" },
  },
  {
    types: ["git", "grok-2", "grok_2", "grok2", "grok"], // Grok-2's config.json has the model_type of another model, without experts
    sources: [vllm.grok1],
    router: grokRouter(false),
    experts: { activation: "gelu", weightLayout: "out-in" },
  },
  {
    // Transformers 4 adds a dropped token's own state, times its probability. Transformers 5 adds nothing.
    types: ["switch_transformers"],
    sources: [transformers.switch_transformers, transformers.switch_transformers_experts],
    router: softmaxRouter(false, topK(1, [])),
    experts: { activation: { keys: ["dense_act_fn"], absent: "relu", values: activations }, gated: false },
    expertCapacity: key("expert_capacity", 64),
  },
  {
    // The code of transformers 5 computes the experts 0 and 1 only, for all tokens. That of transformers 4 is right.
    types: ["nllb-moe", "nllb_moe"],
    sources: [transformers.nllb_moe],
    router: { ...softmaxRouter(true, topK(2, [])), dropout: key("moe_token_dropout", 0.2) },
    experts: { activation: { keys: ["activation_function"], absent: "relu", values: activations }, gated: false },
    refusals: [
      { key: "second_expert_policy", unless: ["all"], reason: "the second expert of a token is drawn at random" },
      {
        key: "moe_eval_capacity_token_fraction",
        unless: [1],
        reason: "each expert drops tokens beyond a capacity that depends on the number of tokens",
      },
    ],
  },
];
