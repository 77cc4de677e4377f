// The model families as data: what config.json does not say because the modeling code says it.
// Source, where an entry names no other: github.com/huggingface/transformers (commits of 2025-11 to 2026-09),
// src/transformers/models/<model_type>/configuration_*.py and modeling_*.py.
import type { ExpertsComputation } from "../../contract/experts.ts";
import type { RouterKind } from "../../routing/router.ts";

/** How a family's layers compute where config.json does not say. */
export interface Family {
  /** The values of `model_type`. */
  readonly types: readonly string[];
  /** The router, if config.json names no scoring function. */
  readonly router: RouterKind;
  /** The default of `norm_topk_prob`. Absent if the code does not read it and the router decides. */
  readonly renormalize?: boolean;
  /** The default of `routed_scaling_factor`. */
  readonly scale?: number;
  /** The defaults of `n_group` and `topk_group`. */
  readonly groups?: readonly [groups: number, topGroups: number];
  /** The values of `topk_method` that the router implements. Other values are not supported. */
  readonly topkMethods?: readonly string[];
  /** How the experts compute if config.json does not say, other than with SiLU and gate columns before up columns. */
  readonly experts?: Readonly<Pick<ExpertsComputation, "activation" | "gated" | "gateUpLayout">>;
  /** Whether the code ignores the activation that config.json names. */
  readonly ignoresActivation?: boolean;
}

/** All families. */
export const families: readonly Family[] = [
  { types: ["mixtral", "minimax"], router: "softmax-renormalize" },
  { types: ["qwen2_moe", "qwen3_moe", "olmoe", "flex_olmo"], router: "softmax", renormalize: false },
  {
    types: ["qwen3_next", "qwen3_omni_moe", "qwen3_omni_moe_thinker", "qwen3_omni_moe_text"],
    router: "softmax",
    renormalize: true,
  },
  { types: ["qwen3_omni_moe_talker", "qwen3_omni_moe_talker_text"], router: "softmax", renormalize: false },
  {
    types: ["qwen3_vl_moe", "qwen3_vl_moe_text", "qwen3_5_moe", "qwen3_5_moe_text"],
    router: "softmax-renormalize",
  },
  { types: ["jamba"], router: "softmax" },
  { types: ["hunyuan_v1_moe"], router: "softmax-renormalize" },
  { types: ["ernie4_5_moe"], router: "softmax-renormalize" },
  { types: ["deepseek", "deepseek_v2"], router: "softmax", renormalize: false, topkMethods: ["greedy"] },
  {
    types: ["gpt_oss"],
    router: "topk-softmax",
    experts: { activation: "swiglu-oai", gateUpLayout: "interleaved" },
    ignoresActivation: true,
  },
  { types: ["granitemoe", "granitemoeshared", "granitemoehybrid"], router: "topk-softmax" },
  { types: ["llama4", "llama4_text"], router: "sigmoid-input" },
  { types: ["phimoe"], router: "sparse-mixer" },
  {
    types: ["deepseek_v3", "deepseek_v32", "kimi_k2"],
    router: "sigmoid-grouped",
    renormalize: true,
    scale: 2.5,
    groups: [8, 4],
    topkMethods: ["noaux_tc"],
  },
  { types: ["deepseek_v4"], router: "sqrt-softplus", renormalize: true, scale: 1.5, topkMethods: ["noaux_tc"] },
  {
    types: ["glm4_moe", "glm4v_moe", "glm4v_moe_text"],
    router: "sigmoid-grouped",
    renormalize: true,
    topkMethods: ["noaux_tc"],
  },
  {
    types: ["glm4_moe_lite"],
    router: "sigmoid-grouped",
    renormalize: true,
    scale: 1.8,
    topkMethods: ["noaux_tc"],
  },
  { types: ["dots1"], router: "sigmoid-grouped", renormalize: false, topkMethods: ["noaux_tc"] },
  { types: ["lfm2_moe"], router: "sigmoid", renormalize: true },
  { types: ["minimax_m2"], router: "sigmoid" },
  {
    types: ["minimax_m3_vl", "minimax_m3_vl_text"],
    router: "sigmoid",
    experts: { activation: "swiglu-oai", gateUpLayout: "concatenated" },
    ignoresActivation: true,
  },
  { types: ["afmoe"], router: "sigmoid", renormalize: true },
  // huggingface.co/inclusionAI/Ling-lite, modeling_bailing_moe.py, and Ling-mini-2.0, modeling_bailing_moe_v2.py
  { types: ["bailing_moe"], router: "softmax", renormalize: true },
  { types: ["bailing_moe_v2"], router: "sigmoid-grouped", renormalize: true },
  {
    types: ["nemotron_h"],
    router: "sigmoid-grouped",
    renormalize: true,
    experts: { activation: "relu2", gated: false },
  },
];

/** The routers by the names of their scoring functions. */
export const scorings: Readonly<Record<string, RouterKind>> = {
  softmax: "softmax",
  sigmoid: "sigmoid-grouped",
  noaux_tc: "sigmoid-grouped", // dots1 gives the name of the method of choice here
  sqrtsoftplus: "sqrt-softplus",
};

/** The activations by the names that config.json has for them. */
export const activationNames: Readonly<Record<string, NonNullable<ExpertsComputation["activation"]>>> = {
  silu: "silu",
  swish: "silu",
  gelu: "gelu",
  gelu_new: "gelu-tanh",
  gelu_pytorch_tanh: "gelu-tanh",
  relu2: "relu2",
  swigluoai: "swiglu-oai",
};
