// Every family of models that the loader knows.
import { deepseek } from "./deepseek.ts";
import { activations, clampedExperts, type Family, key } from "./family.ts";
import { qwen } from "./qwen.ts";
import { sigmoid } from "./sigmoid.ts";
import { softmax } from "./softmax.ts";

/** The families. */
export const families: readonly Family[] = [...qwen, ...deepseek, ...sigmoid, ...softmax];

const byType = new Map(families.flatMap((family) => family.types.map((type) => [type, family])));

/** Finds the family of a `model_type`. */
export function familyOf(type: string): Family | undefined {
  return byType.get(type);
}

/** What is read from the configuration of an unknown model: whatever has the same meaning in all families. */
export const unknownFamily: Family = {
  types: [],
  source: "the keys that families share",
  router: {
    kind: {
      keys: ["scoring_func"],
      absent: undefined,
      values: {
        sigmoid: "sigmoid-grouped",
        noaux_tc: "sigmoid-grouped",
        sqrtsoftplus: "sqrt-softplus",
        softmax: undefined,
      },
    },
    topK: key<number | undefined>([
      ...["num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_k", "moe_topk", "moe_top_k"],
      ...["top_k_experts", "n_activated_experts"],
    ], undefined),
    renormalize: key(["norm_topk_prob", "moe_renormalize", "route_norm"], true),
    scale: key(["routed_scaling_factor", "route_scale"], 1),
    groups: key("n_group", 1),
    topGroups: key<number | undefined>("topk_group", undefined),
  },
  experts: {
    ...clampedExperts,
    activation: { keys: ["hidden_act", "hidden_activation", "mlp_hidden_act"], absent: "silu", values: activations },
  },
};
