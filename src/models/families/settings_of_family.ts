// How a layer computes, from a family's entry and config.json.
import type { ExpertsLayer } from "../../contract/moe.ts";
import { type RouterKind, type RouterOptions, routerRules } from "../../routing/router.ts";
import { quote, SafetensorsError } from "../../safetensors/error.ts";
import type { Family } from "./family.ts";
import { unknownFamily } from "./mod.ts";
import type { ModelConfig } from "./model_config.ts";

/** How experts compute, before their weights are read. */
export type ExpertsSettings = Pick<
  ExpertsLayer,
  "activation" | "activationAlpha" | "activationLimit" | "gated" | "gateUpLayout" | "weightLayout"
>;

/** A router's options without the bias's values. Absent options are unknown. */
export type RouterSettings = Omit<RouterOptions, "topK" | "correctionBias"> & { readonly topK?: number | undefined };

/** Options that the caller gives. What they replace is not read from config.json. */
export interface GivenSettings {
  readonly experts: ExpertsSettings;
  readonly router: RouterSettings;
}

/** Settings, and the family that they belong to. */
export interface FamilySettings {
  readonly family: string;
  readonly experts: ExpertsSettings;
  readonly router: RouterSettings;
  /** Why the router's kind is unknown. */
  readonly unknownRouter?: string;
  /** What a user should know about how the router's kind was found. */
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
 * @param given Options that replace values of config.json.
 * @throws {SafetensorsError} If a value is of a wrong type or cannot be expressed here.
 */
export function settingsOfConfig(config: ModelConfig, layer: number, given: GivenSettings): FamilySettings {
  const family = config.family ?? unknownFamily;
  checkFamily(config);
  checkValues(config, family, layer);
  const kind = given.router.kind ?? config.word(family.router.kind);
  const router = { ...routerOf(config, family, layer, kind, given.router), kind };
  return {
    family: config.modelType,
    experts: expertsOf(config, family, layer, given.experts),
    router: kind === "softmax" && router.renormalize ? { ...router, kind: "softmax-renormalize" } : router,
    ...kind === undefined && {
      unknownRouter: config.modelType === ""
        ? `${config.path} has no model_type`
        : `the router of ${quote(config.modelType)} is unknown`,
    },
  };
}

function checkValues(config: ModelConfig, { refusals = [] }: Family, layer: number): void {
  for (const { key, unless, reason } of refusals) {
    const value = config.valueOf(key, layer);
    if (value === undefined || value === null || unless.includes(value)) continue;
    throw new SafetensorsError(
      `${config.path}: ${config.modelType} with ${key} ${JSON.stringify(value)} is not supported: ${reason}`,
    );
  }
}

/** Reads the options that the kind takes. */
function routerOf(
  config: ModelConfig,
  { router }: Family,
  layer: number,
  kind: RouterKind | undefined,
  given: RouterSettings,
): RouterSettings {
  const rule = kind && routerRules[kind];
  return {
    topK: given.topK ?? config.integer(router.topK, layer),
    ...rule && router.scale && { scale: given.scale ?? config.number(router.scale) },
    ...rule && rule.before !== "none" && router.renormalize !== undefined && {
      renormalize: given.renormalize ?? config.boolean(router.renormalize),
    },
    ...rule?.grouped && router.groups && { groups: given.groups ?? config.integer(router.groups) },
    ...rule?.grouped && router.topGroups && { topGroups: given.topGroups ?? config.integer(router.topGroups) },
    ...rule?.after === "sparse-mixer" && router.jitter && { jitter: given.jitter ?? config.number(router.jitter) },
  };
}

/** Reads how the experts compute. */
function expertsOf(
  config: ModelConfig,
  { experts }: Family,
  layer: number,
  given: ExpertsSettings,
): ExpertsSettings {
  const { gated, gateUpLayout = "concatenated", alpha, limit } = experts;
  const own = given.activation === undefined;
  const activation = given.activation ?? config.word(experts.activation);
  const activationLimit = own && limit ? config.number(limit, layer) : undefined;
  const activationAlpha = own && alpha ? config.number(alpha) : undefined;
  if (limit && activationLimit !== undefined && activation !== "silu" && activation !== "swiglu-oai") {
    throw new SafetensorsError(
      `${config.path}: ${config.keyOf(limit)} must come with the activation silu, got ${activation}`,
    );
  }
  return {
    activation,
    gateUpLayout,
    ...gated !== undefined && { gated },
    ...activationLimit !== undefined && { activationLimit },
    ...activationAlpha !== undefined && { activationAlpha },
  };
}
