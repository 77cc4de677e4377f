// Every family of models that the loader knows.
import { deepseek } from "./deepseek.ts";
import { activations, clampedExperts, type Family, key } from "./family.ts";
import { qwen } from "./qwen.ts";
import { sigmoid } from "./sigmoid.ts";
import { softmax } from "./softmax.ts";

/** The families. */
export const families: readonly Family[] = [...qwen, ...deepseek, ...sigmoid, ...softmax];

const byType = new Map(families.flatMap((family) => family.types.map((type) => [type, family])));

/** The values of `model_type` of all families. */
export const familyTypes: readonly string[] = [...byType.keys()];

/** Finds the family of a `model_type`. */
export function familyOf(type: string): Family | undefined {
  return byType.get(type);
}

/** The keys of all families for the number of experts of each token. */
export const topKKeys: readonly string[] = [
  ...["num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_k", "moe_topk", "moe_top_k"],
  ...["top_k_experts", "n_activated_experts"],
];

/** What is read from the configuration of an unknown model: whatever has the same meaning in all families. */
export const unknownFamily: Family = {
  types: [],
  sources: [],
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
    topK: key<number | undefined>(topKKeys, undefined),
    renormalize: key<boolean | undefined>(["norm_topk_prob", "moe_renormalize", "route_norm"], undefined),
    scale: key<number | undefined>(["routed_scaling_factor", "route_scale"], undefined),
    groups: key<number | undefined>("n_group", undefined),
    topGroups: key<number | undefined>("topk_group", undefined),
    logitCap: key<number | undefined>("router_logit_softcapping", undefined),
  },
  experts: {
    ...clampedExperts,
    activation: { keys: ["hidden_act", "hidden_activation", "mlp_hidden_act"], absent: "silu", values: activations },
  },
};
