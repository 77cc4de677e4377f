/**
 * Presets: one Mixture-of-Experts layer of each of several models, and the reference job.
 *
 * @module
 */
import { defaultVariant, type ExpertsVariant } from "../contract/experts_options.ts";
import { gateUpColumns } from "../contract/experts_sizes.ts";
import type { RouterOptions } from "../routing/router.ts";

/** A router's options, without the values of the correction bias. */
export interface RouterPreset extends Omit<RouterOptions, "topK" | "correctionBias" | "kind"> {
  /** The kind of the router. */
  readonly kind: NonNullable<RouterOptions["kind"]>;
  /** Whether the router has a correction bias. */
  readonly correctionBias?: boolean;
}

/** The sizes of a layer, and how it computes. */
export interface LayerPreset extends ExpertsVariant {
  /** H. */
  readonly hidden: number;
  /** E. */
  readonly experts: number;
  /** K. */
  readonly topK: number;
  /** The biases of the two projections. Zero biases take memory and do not change the result. */
  readonly biases: "none" | "zero" | "random";
  /** The router. */
  readonly router: RouterPreset;
  /** The intermediate size of the shared expert, or 0 if there is none. */
  readonly sharedIntermediate: number;
}

/** A model's layer, and the number of tokens in its input. */
export interface Preset extends LayerPreset {
  /** The model. */
  readonly model: string;
  /** The source of the sizes. */
  readonly source: string;
  /** How the preset differs from the model, if it does. */
  readonly note?: string;
  /** Number of sequences. */
  readonly batch: number;
  /** Tokens per sequence. */
  readonly seq: number;
  /** I. The default is H. */
  readonly intermediate?: number;
  /** Whether the experts are dropless. Otherwise the expert capacity is `seq`. */
  readonly dropless: boolean;
}

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

const deepSeekV4 = {
  ...linear,
  source: "github.com/deepseek-ai/DeepGEMM, README.md (commit c1115cc); transformers, " +
    "deepseek_v4/configuration_deepseek_v4.py, modeling_deepseek_v4.py",
  note: "The router's scale, 1.5, is known for Flash only; the first layers choose experts by token id",
  activationLimit: 10,
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
    ...linear,
    model: "Kimi-K2",
    source: "huggingface.co/moonshotai/Kimi-K2-Instruct, config.json",
    hidden: 7168,
    intermediate: 2048,
    experts: 384,
    topK: 8,
    router: { kind: "sigmoid", correctionBias: true, scale: 2.827 },
    sharedIntermediate: 2048,
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
  "glm-4.5-air": {
    ...glm,
    model: "GLM-4.5-Air",
    hidden: 4096,
    intermediate: 1408,
    experts: 128,
    router: { kind: "sigmoid", correctionBias: true },
    sharedIntermediate: 1408,
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

/** The memory and the work of a layer. */
export interface LayerWork {
  /** Bytes of all parameters, with two bytes per element. */
  readonly parameterBytes: number;
  /** Bytes of the routed experts' parameters. */
  readonly expertBytes: number;
  /** Floating-point operations per token in the products of router, K experts and shared expert. */
  readonly flopsPerToken: number;
  /** Floating-point operations per token in the routed experts. */
  readonly expertFlopsPerToken: number;
}

/** Computes the memory and the work of a layer from its sizes. */
export function layerWork(layer: LayerPreset & { readonly intermediate: number }): LayerWork {
  const { hidden, intermediate, experts, topK, biases, sharedIntermediate, router } = layer;
  const columns = gateUpColumns(layer);
  const weights = hidden * (columns + intermediate);
  const biasCount = biases === "none" ? 0 : columns + hidden;
  const routerWeights = experts * hidden;
  const sharedWeights = hidden * (gateUpColumns({ ...layer, intermediate: sharedIntermediate }) + sharedIntermediate);
  const routerBias = biases === "random" || router.correctionBias ? experts : 0;
  const expertBytes = 2 * experts * (weights + biasCount);
  return {
    parameterBytes: expertBytes + 2 * (routerWeights + routerBias + sharedWeights),
    expertBytes,
    flopsPerToken: 2 * (topK * weights + routerWeights + sharedWeights),
    expertFlopsPerToken: 2 * topK * weights,
  };
}
