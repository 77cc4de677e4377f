// What the families' checkpoints have in common.
import type { Definition } from "./layer_model.ts";

export const mlp = "model.layers.1.mlp.";
export const sparse = "model.layers.1.block_sparse_moe.";
export const forward = "model.layers.1.feed_forward.";
export const dense = ["model.layers.0.mlp.gate_proj.weight", "model.layers.0.mlp.down_proj.weight"];

export const softmax: Definition = { scores: "softmax", topK: 2, activation: "silu" };
export const renormalized: Definition = { ...softmax, renormalize: true };
export const corrected: Definition = { scores: "sigmoid", topK: 3, renormalize: true, activation: "silu" };
export const logits: Definition = { scores: "logits-softmax", topK: 2, activation: "silu" };

export const each = { base: mlp, packing: "gate_proj", router: "gate", others: dense } as const;
export const mixtral = { base: sparse, packing: "w1", router: "gate" } as const;
export const shared = { prefix: `${mlp}shared_experts.`, packing: "gate_proj" } as const;
export const gatedShared = {
  prefix: `${mlp}shared_expert.`,
  packing: "gate_proj",
  gate: "shared_expert_gate",
} as const;
export const deepseek = { ...each, correctionBias: "gate.e_score_correction_bias", shared } as const;

/** The keys of DeepSeek-V3 that most of its kin have. */
export const noGroups = { num_experts_per_tok: 3, n_group: 1, topk_group: 1, hidden_act: "silu" };
export const qwen = { num_experts: 8, num_experts_per_tok: 2, hidden_act: "silu" };
