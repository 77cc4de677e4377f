// The same families with values that few models have: one expert for each token, or groups with another score.
import type { Published } from "./checkpoints.ts";
import { corrected, deepseek, each, mixtral, mlp, renormalized, shared, softmax } from "./published_parts.ts";

/** Checkpoints of families of the table with such values. */
export const edges: readonly Published[] = [
  {
    name: "hunyuan (Hunyuan-Large), one expert",
    ...each,
    config: { model_type: "hunyuan", num_experts: 8, moe_topk: 1, num_shared_expert: 1, hidden_act: "silu" },
    definition: { ...softmax, topK: 1 },
    router: "gate.wg",
    shared: { ...shared, prefix: `${mlp}shared_mlp.` },
  },
  {
    name: "arctic, one expert",
    ...mixtral,
    config: { model_type: "arctic", num_experts_per_tok: 1, num_local_experts: 8, hidden_act: "silu" },
    definition: { ...softmax, topK: 1 },
  },
  {
    name: "bailing_moe, softmax and groups",
    ...{ ...each, shared },
    config: {
      model_type: "bailing_moe",
      ...{ num_experts: 8, num_experts_per_tok: 3, n_group: 4, topk_group: 2, norm_topk_prob: true },
      ...{ score_function: "softmax", routed_scaling_factor: 2.5, hidden_act: "silu" },
    },
    definition: { ...renormalized, topK: 3, groups: [4, 2, 1], scale: 2.5 },
  },
  {
    name: "deepseek_v3, groups of null",
    ...deepseek,
    config: { model_type: "deepseek_v3", num_experts_per_tok: 3, n_group: null, topk_group: null },
    definition: { ...corrected, scale: 2.5 },
  },
];
