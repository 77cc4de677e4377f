/**
 * Presets: one Mixture-of-Experts layer of each of several models, and the reference job.
 *
 * @module
 */
import { defaultVariant } from "../contract/experts_options.ts";
import type { Preset } from "./preset.ts";

const reference = {
  ...defaultVariant,
  model: "gpt-oss-20b, routed as on the page of the original kernel",
  source: "huggingface.co/drbh/yamoe, README.md",
  hidden: 2880,
  biases: "zero",
  router: { kind: "softmax" },
  sharedIntermediate: 0,
  dropless: false,
} as const;

const model = {
  ...defaultVariant,
  batch: 1,
  seq: 4096,
  biases: "none",
  sharedIntermediate: 0,
  dropless: true,
} as const;

const gptOss = {
  ...model,
  source: "github.com/openai/gpt-oss, gpt_oss/torch/model.py; transformers, gpt_oss/configuration_gpt_oss.py",
  hidden: 2880,
  intermediate: 2880,
  topK: 4,
  biases: "random",
  router: { kind: "topk-softmax" },
  published: "mxfp4",
} as const;

/** Experts with linear layers, [out, in] each: concatenated gate and up, SiLU, no biases. */
const linear = {
  ...model,
  activation: "silu",
  activationLimit: Infinity,
  gateUpLayout: "concatenated",
  weightLayout: "out-in",
} as const;

const qwen3 = {
  ...linear,
  source: "transformers, qwen3_moe/configuration_qwen3_moe.py; the checkpoints' norm_topk_prob is true",
  experts: 128,
  topK: 8,
  router: { kind: "softmax-renormalize" },
} as const;

const llama4 = {
  ...linear,
  weightLayout: "in-out",
  source: "transformers, llama4/configuration_llama4.py, modeling_llama4.py",
  hidden: 5120,
  intermediate: 8192,
  topK: 1,
  router: { kind: "sigmoid-input" },
  sharedIntermediate: 8192,
} as const;

const granite = {
  ...linear,
  source: "transformers, granitemoe/configuration_granitemoe.py, modeling_granitemoe.py; the checkpoints' config.json",
  intermediate: 512,
  topK: 8,
  router: { kind: "topk-softmax" },
} as const;

const glm = {
  ...linear,
  source: "transformers, glm4_moe/configuration_glm4_moe.py, modeling_glm4_moe.py; the checkpoints' config.json",
  topK: 8,
} as const;

const kimiK2 = {
  ...linear,
  hidden: 7168,
  intermediate: 2048,
  experts: 384,
  topK: 8,
  router: { kind: "sigmoid", correctionBias: true, scale: 2.827 },
  sharedIntermediate: 2048,
} as const;

const deepSeekV4 = {
  ...linear,
  source: "github.com/deepseek-ai/DeepGEMM, README.md (commit c1115cc); transformers, " +
    "deepseek_v4/configuration_deepseek_v4.py, modeling_deepseek_v4.py",
  note: "The router's scale, 1.5, is known for Flash only; the first layers choose experts by token id",
  activationLimit: 10,
  published: "mxfp4",
  topK: 6,
  router: { kind: "sqrt-softplus", correctionBias: true, scale: 1.5 },
} as const;

/** All presets, by name. */
export const presets = {
  /** The job that every default follows. */
  "reference": { ...reference, batch: 128, seq: 2048, experts: 32, topK: 4 },
  "small": { ...reference, model: "synthetic", batch: 16, seq: 256, experts: 8, topK: 2 },
  "tiny": { ...reference, model: "synthetic", batch: 4, seq: 64, hidden: 256, experts: 8, topK: 2 },

  "gpt-oss-20b": { ...gptOss, model: "gpt-oss-20b", experts: 32 },
  "gpt-oss-120b": { ...gptOss, model: "gpt-oss-120b", experts: 128 },
  "mixtral-8x7b": {
    ...linear,
    model: "Mixtral-8x7B",
    source: "transformers, mixtral/configuration_mixtral.py, modeling_mixtral.py",
    hidden: 4096,
    intermediate: 14336,
    experts: 8,
    topK: 2,
    router: { kind: "softmax-renormalize" },
  },
  "qwen3-30b-a3b": { ...qwen3, model: "Qwen3-30B-A3B", hidden: 2048, intermediate: 768 },
  "qwen3-235b-a22b": { ...qwen3, model: "Qwen3-235B-A22B", hidden: 4096, intermediate: 1536 },
  "qwen3.5-35b-a3b": {
    ...qwen3,
    model: "Qwen3.5-35B-A3B and Qwen3.6-35B-A3B",
    source: "transformers 5.18.0, qwen3_5_moe/configuration_qwen3_5_moe.py, modeling_qwen3_5_moe.py",
    note: "The shared expert's gate is not included",
    hidden: 2048,
    intermediate: 512,
    experts: 256,
    sharedIntermediate: 512,
  },
  "deepseek-v3": {
    ...linear,
    model: "DeepSeek-V3",
    source: "transformers, deepseek_v3/configuration_deepseek_v3.py, modeling_deepseek_v3.py",
    hidden: 7168,
    intermediate: 2048,
    experts: 256,
    topK: 8,
    router: { kind: "sigmoid-grouped", correctionBias: true, groups: 8, topGroups: 4, scale: 2.5 },
    sharedIntermediate: 2048,
    published: "fp8",
  },
  "llama-4-scout": { ...llama4, model: "Llama-4-Scout", experts: 16 },
  "llama-4-maverick": { ...llama4, model: "Llama-4-Maverick", experts: 128 },
  "olmoe-1b-7b": {
    ...linear,
    model: "OLMoE-1B-7B",
    source: "transformers, olmoe/configuration_olmoe.py, modeling_olmoe.py; the intermediate size from the checkpoint",
    hidden: 2048,
    intermediate: 1024,
    experts: 64,
    topK: 8,
    router: { kind: "softmax" },
  },
  "phi-3.5-moe": {
    ...linear,
    model: "Phi-3.5-MoE",
    source: "transformers, phimoe/configuration_phimoe.py, modeling_phimoe.py",
    hidden: 4096,
    intermediate: 6400,
    experts: 16,
    topK: 2,
    router: { kind: "sparse-mixer" },
  },
  "granite-3.0-3b-a800m": { ...granite, model: "Granite-3.0-3B-A800M", hidden: 1536, experts: 40 },
  "granite-3.0-1b-a400m": { ...granite, model: "Granite-3.0-1B-A400M", hidden: 1024, experts: 32 },
  "kimi-k2": {
    ...kimiK2,
    model: "Kimi-K2",
    source: "huggingface.co/moonshotai/Kimi-K2-Instruct, config.json",
    published: "fp8",
  },
  "kimi-k2-thinking": {
    ...kimiK2,
    model: "Kimi-K2-Thinking",
    source: "huggingface.co/moonshotai/Kimi-K2-Thinking, config.json",
    published: "int4",
  },
  "glm-4.5": {
    ...glm,
    model: "GLM-4.5",
    hidden: 5120,
    intermediate: 1536,
    experts: 160,
    router: { kind: "sigmoid", correctionBias: true, scale: 2.5 },
    sharedIntermediate: 1536,
  },
  "glm-4.7": {
    ...glm,
    model: "GLM-4.7",
    hidden: 5120,
    intermediate: 1536,
    experts: 160,
    router: { kind: "sigmoid", correctionBias: true, scale: 2.5 },
    sharedIntermediate: 1536,
  },
  "glm-4.5-air": {
    ...glm,
    model: "GLM-4.5-Air",
    hidden: 4096,
    intermediate: 1408,
    experts: 128,
    router: { kind: "sigmoid", correctionBias: true },
    sharedIntermediate: 1408,
  },
  "gemma-4-26b-a4b": {
    ...linear,
    model: "Gemma-4-26B-A4B",
    source: "transformers 5.18.0, gemma4/modeling_gemma4.py; the checkpoint's config.json",
    note: "Without the router's own normalization and scales",
    activation: "gelu-tanh",
    hidden: 2816,
    intermediate: 704,
    experts: 128,
    topK: 8,
    router: { kind: "softmax-renormalize" },
  },
  "nemotron-3-nano": {
    ...linear,
    model: "Nemotron-3-Nano-30B-A3B",
    source: "transformers 5.18.0, nemotron_h/modeling_nemotron_h.py; the checkpoint's config.json",
    activation: "relu2",
    gated: false,
    hidden: 2688,
    intermediate: 1856,
    experts: 128,
    topK: 6,
    router: { kind: "sigmoid", correctionBias: true, scale: 2.5 },
    sharedIntermediate: 3712,
  },
  "minimax-m2": {
    ...linear,
    model: "MiniMax-M2",
    source: "transformers 5.18.0, minimax_m2/configuration_minimax_m2.py, modeling_minimax_m2.py",
    hidden: 3072,
    intermediate: 1536,
    experts: 256,
    topK: 8,
    router: { kind: "sigmoid", correctionBias: true },
    published: "fp8",
  },
  "minimax-m3": {
    ...linear,
    model: "MiniMax-M3",
    source: "transformers 5.18.0, minimax_m3_vl/configuration_minimax_m3_vl.py, modeling_minimax_m3_vl.py",
    activation: "swiglu-oai",
    activationLimit: 7,
    hidden: 6144,
    intermediate: 3072,
    experts: 128,
    topK: 4,
    router: { kind: "sigmoid", correctionBias: true, scale: 2 },
    sharedIntermediate: 3072,
  },
  "deepseek-v4-flash": {
    ...deepSeekV4,
    model: "DeepSeek-V4-Flash",
    hidden: 4096,
    intermediate: 2048,
    experts: 256,
    sharedIntermediate: 2048,
  },
  "deepseek-v4-pro": {
    ...deepSeekV4,
    model: "DeepSeek-V4-Pro",
    hidden: 7168,
    intermediate: 3072,
    experts: 384,
    sharedIntermediate: 3072,
  },
} as const satisfies Record<string, Preset>;

/** The name of a preset. */
export type PresetName = keyof typeof presets;
