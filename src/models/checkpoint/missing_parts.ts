// Parts of a layer that config.json announces and the checkpoint does not have.
import type { ModelConfig } from "../families/model_config.ts";
import type { LayerNames } from "./layer_names.ts";

/** The keys for the number of shared experts, or their size. */
const sharedKeys = [
  ...["n_shared_experts", "num_shared_experts", "num_shared_expert", "moe_num_shared_experts"],
  ...["shared_expert_intermediate_size", "moe_shared_expert_intermediate_size"],
];

/** The keys that say whether a bias corrects the scores. */
const biasKeys = [
  ...["use_expert_bias", "use_routing_bias", "use_moe_router_bias", "moe_router_enable_expert_bias"],
  "moe_use_aux_free",
];

/** Describes the missing parts for the user: without them, the result may not be the model's. */
export function missingParts(
  { layer, shared, correctionBias, routerBias, tokenTable }: LayerNames,
  config: ModelConfig,
): string[] {
  const note = (key: string | undefined, part: string) =>
    key === undefined
      ? []
      : [`${config.path} has ${key} ${JSON.stringify(config.valueOf(key, layer))}, but the layer has no ${part}`];
  const isCount = (value: unknown) => typeof value === "number" && value > 0;
  const sharedKey = sharedKeys.find((key) => isCount(config.valueOf(key, layer)));
  const biasKey = config.valueOf("topk_method", layer) === "noaux_tc"
    ? "topk_method"
    : biasKeys.find((key) => config.valueOf(key, layer) === true);
  return [
    ...shared ? [] : note(sharedKey, "shared expert"),
    ...routerBias || config.valueOf("model_type", layer) !== "gpt_oss" ? [] : note("model_type", "router bias"),
    ...correctionBias || tokenTable ? [] : note(biasKey, "correction bias"), // a table decides without scores
  ];
}
