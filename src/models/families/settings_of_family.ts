// How a layer computes, from a family's entry and config.json.
import type { ExpertsComputation } from "../../contract/experts.ts";
import { type RouterKind, type RouterOptions, routerRules, type Scoring } from "../../routing/router.ts";
import { SafetensorsError } from "../../safetensors/error.ts";
import { quote } from "../../text.ts";
import type { Family, Refusal } from "./family.ts";
import { unknownFamily } from "./mod.ts";
import type { ModelConfig } from "./model_config.ts";

/** A router's options without the values of the correction bias. Absent options are unknown. */
export type RouterSettings = Omit<RouterOptions, "topK" | "correctionBias"> & { readonly topK?: number | undefined };

/** What a source says about a layer. Absent values are unknown. */
export interface ModelSettings {
  /** The name of the model family. */
  readonly family: string;
  readonly experts: Readonly<ExpertsComputation>;
  readonly router: RouterSettings;
  /** The epsilon of the layer's norms, if it has any. */
  readonly normEpsilon?: number;
  /** The number of tokens of a sequence that an expert keeps, if it drops the others. */
  readonly expertCapacity?: number;
  /** The cap of the router's logits, if it has one. */
  readonly logitCap?: number | undefined;
  /** Whether the activation that config.json names does not count. */
  readonly ignoresActivation?: boolean;
  /** Why the router, or the activation, is unknown. */
  readonly unknown: { readonly router?: string; readonly activation?: string };
  /** Something that the user should know about how the router was found. */
  readonly note?: string;
}

/**
 * Throws an error if no layer of a model's family can be expressed.
 *
 * @throws {SafetensorsError} If that is so, with the reason.
 */
export function checkFamily({ family, modelType, path }: ModelConfig): void {
  if (family?.refusal) throw new SafetensorsError(`${path}: ${quote(modelType)} is not supported: ${family.refusal}`);
}

/**
 * Reads how a layer computes.
 *
 * @param config The configuration.
 * @param layer The layer's number, for values that differ between layers.
 * @throws {SafetensorsError} If a value is of a wrong type or cannot be expressed here.
 */
export function settingsOfConfig(config: ModelConfig, layer = 0): ModelSettings {
  const family = config.family ?? unknownFamily;
  checkFamily(config);
  checkValues(config, family, layer);
  const word = config.word(family.router.kind, layer);
  const found = word.value && kindOf(config, family, layer, word.value);
  const problem = word.problem ?? (found && contradiction(config, layer, found));
  const kind = problem === undefined ? found : undefined;
  const activation = config.word(family.experts.activation, layer);
  const router = routerOf(config, family, layer, kind);
  const isUnknown = kind === undefined || !config.family && router.renormalize === undefined;
  const unknownKind = problem ?? (isUnknown ? `the router of ${quote(config.modelType)} is unknown` : undefined);
  return {
    family: config.modelType,
    experts: { ...expertsOf(config, family, layer), activation: activation.value },
    router: { ...router, kind: isUnknown ? undefined : kind },
    logitCap: family.router.logitCap && config.number(family.router.logitCap, layer) || undefined,
    ...family.expertCapacity && { expertCapacity: config.integer(family.expertCapacity, layer) },
    ...family.normEpsilon && { normEpsilon: config.number(family.normEpsilon, layer) },
    unknown: {
      ...unknownKind && { router: unknownKind },
      ...activation.problem && { activation: activation.problem },
    },
    ...!config.family && !isUnknown && {
      note: `The family ${quote(config.modelType)} is unknown; the router is taken from ${config.path}`,
    },
  };
}

/** Values that change what the experts compute. Only families whose code reads the key can have them. */
const unreadValues: readonly Refusal[] = [
  { key: "swiglu_limit", unless: [0], reason: "it is not known how its experts are clamped" },
  { key: "activation_situ_beta", reason: "its experts have the activation SiTU" }, // Kimi K3
  { key: "moe_apply_router_weight_on_input", unless: [false], reason: "the weights multiply the input of the experts" },
  { key: "zero_expert_num", unless: [0], reason: "some of its experts return their input as it is" },
];

function checkValues(config: ModelConfig, { refusals = [], experts: { limit } }: Family, layer: number): void {
  for (const { key, unless = [], reason } of [...refusals, ...unreadValues]) {
    const value = config.valueOf(key, layer);
    if (limit?.keys.includes(key)) continue;
    if (value === undefined || value === null || unless.includes(value)) continue;
    throw new SafetensorsError(
      `${config.path}: ${config.modelType || "a model"} with ${key} ${
        JSON.stringify(value)
      } is not supported: ${reason}`,
    );
  }
}

/** The keys of all families for the function that makes scores of logits. */
const scoringKeys = [
  "scoring_func",
  "score_func",
  "score_function",
  "moe_router_activation_func",
  "moe_router_activation",
];

/** What their words mean. */
const scoringWords = new Map<unknown, Scoring>([
  ["softmax", "softmax"],
  ["sigmoid", "sigmoid"],
  ["sqrtsoftplus", "sqrt-softplus"],
]);

/** Describes a score of config.json that the family's code does not compute, if there is one. */
function contradiction(config: ModelConfig, layer: number, kind: RouterKind): string | undefined {
  const { before, after } = routerRules[kind];
  const own = before === "none" ? after : before;
  const key = scoringKeys.find((key) => (scoringWords.get(config.valueOf(key, layer)) ?? own) !== own);
  return key && `${key} is ${quote(`${config.valueOf(key, layer)}`)}, but the code of ${config.modelType} uses ${own}`;
}

/** Decides between kinds that differ for several groups of experts, or for several experts of a token, only. */
function kindOf(config: ModelConfig, { router }: Family, layer: number, kind: RouterKind): RouterKind {
  const { groups, topK, keepsOnlyWeight } = router;
  if (kind === "softmax-grouped" && groups && config.integer(groups, layer) === 1) return "softmax";
  if (kind === "softmax-renormalize" && keepsOnlyWeight && config.integer(topK, layer) === 1) return "softmax";
  return kind;
}

/** Reads the router's options. If the kind is known, only those that it takes. */
function routerOf(
  config: ModelConfig,
  { router: { topK, scale, dropout, renormalize, groups, topGroups, jitter, epsilon } }: Family,
  layer: number,
  kind: RouterKind | undefined,
): RouterSettings {
  const rule = kind && routerRules[kind];
  return {
    topK: config.integer(topK, layer),
    ...scale && { scale: config.number(scale, layer) },
    ...dropout && { scale: 1 - config.number(dropout, layer) },
    ...renormalize !== undefined && rule?.before !== "none" && { renormalize: config.boolean(renormalize, layer) },
    ...groups && rule?.groupScores !== 0 && { groups: config.integer(groups, layer) },
    ...topGroups && rule?.groupScores !== 0 && { topGroups: config.integer(topGroups, layer) },
    ...epsilon !== undefined && { epsilon },
    ...jitter && { jitter: config.number(jitter, layer) },
  };
}

function expertsOf(config: ModelConfig, { experts }: Family, layer: number): ExpertsComputation {
  const { gated, gateUpLayout = "concatenated", weightLayout, alpha, limit } = experts;
  return {
    gateUpLayout,
    weightLayout,
    gated,
    activationAlpha: alpha && config.number(alpha, layer),
    activationLimit: limit && config.number(limit, layer),
  };
}
