// How a layer computes, from config.json, from a preset, or from the names of the tensors.
import { activationOptions } from "../../contract/activations.ts";
import type { ExpertsComputation } from "../../contract/experts.ts";
import { definedMembers } from "../../known_names.ts";
import { type RouterKind, type RouterOptions, routerRules } from "../../routing/router.ts";
import { quote } from "../../text.ts";
import { type Preset, type PresetName, presets } from "../presets.ts";
import { activationNames, families, type Family, scorings } from "./families.ts";
import type { LayerNames } from "./layer_names.ts";
import type { ModelConfig } from "./model_config.ts";

/** A router's options without the values of the correction bias. Absent options are unknown. */
export type RouterSettings = Omit<RouterOptions, "topK" | "correctionBias"> & { readonly topK?: number | undefined };

/** What a source says about a layer. Absent values are unknown. */
export interface ModelSettings {
  /** The name of the model family. */
  readonly family: string;
  readonly experts: Readonly<ExpertsComputation>;
  readonly router: RouterSettings;
  /** Whether the activation that config.json names does not count. */
  readonly ignoresActivation?: boolean;
  /** Why the router, or the activation, is unknown. */
  readonly unknown: { readonly router?: string; readonly activation?: string };
  /** Something that the user should know about how the router was found. */
  readonly note?: string;
}

const silu = { activation: "silu", gateUpLayout: "concatenated" } as const;

/** Returns what the tensors' names say. */
export function settingsOfNames({ base, packing, correctionBias, routerBias }: LayerNames): ModelSettings {
  if (packing === "granite") {
    return { family: "granite", experts: silu, router: { kind: "topk-softmax" }, unknown: {} };
  }
  if (packing === "each" && base.endsWith("block_sparse_moe.") && !correctionBias) {
    const note = "The names fit Mixtral and Phi-3.5-MoE; Mixtral's router is used, --router sparse-mixer is the other";
    return { family: "mixtral", experts: silu, router: { kind: "softmax-renormalize" }, unknown: {}, note };
  }
  const unknown = { router: "models with different routers have tensors of these names" };
  if (packing === "each") return { family: "unknown", experts: silu, router: {}, unknown };
  if (base.endsWith("feed_forward.")) {
    return { family: "llama-4", experts: silu, router: { kind: "sigmoid-input" }, unknown: {} };
  }
  if (base.endsWith("mlp.") && routerBias) {
    const experts = { activation: "swiglu-oai", gateUpLayout: "interleaved" } as const;
    return { family: "gpt-oss", experts, router: { kind: "topk-softmax" }, ignoresActivation: true, unknown: {} };
  }
  const activation = "models with different activations have tensors of these names";
  return { family: "unknown", experts: {}, router: {}, unknown: { ...unknown, activation } };
}

/** Returns what a preset says. */
export function settingsOfPreset(name: PresetName): ModelSettings {
  const preset: Preset = presets[name];
  const { correctionBias: _correctionBias, ...options } = preset.router;
  const { activation, gated, gateUpLayout } = preset;
  return {
    family: name,
    experts: { activation, gated, gateUpLayout, ...activationOptions(preset) },
    router: { ...options, topK: preset.topK },
    unknown: {},
  };
}

/**
 * Returns what config.json says.
 *
 * @param config The configuration.
 * @param ofNames What the tensors' names say. It counts for a model without `model_type`.
 * @throws {SafetensorsError} If a value has a wrong type.
 */
export function settingsOfConfig(config: ModelConfig, ofNames: ModelSettings): ModelSettings {
  const { modelType } = config;
  const family = families.find(({ types }) => types.includes(modelType));
  const { unknown: { activation: noActivation }, ...activation } = activationOfConfig(config, family, ofNames);
  const { unknown: noRouter, note, ...router } = routerOfConfig(config, family, ofNames);
  return {
    family: modelType || ofNames.family,
    experts: { ...family ? silu : ofNames.experts, ...family?.experts, ...activation },
    router,
    unknown: { ...noRouter && { router: noRouter }, ...noActivation && { activation: noActivation } },
    ...note && { note },
  };
}

function activationOfConfig(
  config: ModelConfig,
  family: Family | undefined,
  ofNames: ModelSettings,
): ExpertsComputation & Pick<ModelSettings, "unknown"> {
  const { ignoresActivation } = family ?? (config.modelType === "" ? ofNames : {});
  const name = ignoresActivation ? undefined : config.string("activation");
  const activation = name !== undefined && Object.hasOwn(activationNames, name) ? activationNames[name] : undefined;
  const limits = {
    ...config.number("activationAlpha") !== undefined && { activationAlpha: config.number("activationAlpha") },
    ...config.number("activationLimit") !== undefined && { activationLimit: config.number("activationLimit") },
  };
  if (activation) return { activation, ...limits, unknown: {} };
  if (name === undefined) return { ...limits, unknown: family ? {} : ofNames.unknown };
  const problem = `${config.path} names ${quote(name)} as ${config.key("activation")}, which is not supported`;
  return { activation: undefined, ...limits, unknown: { activation: problem } };
}

function routerOfConfig(
  config: ModelConfig,
  family: Family | undefined,
  ofNames: ModelSettings,
): RouterSettings & { readonly unknown?: string; readonly note?: string } {
  const scoring = config.string("scoring");
  const kind = scoring === undefined ? family?.router : kindOfScoring(scoring, family);
  const read = { renormalize: config.boolean("renormalize"), scale: config.number("scale") };
  const options = {
    topK: config.integer("topK"),
    renormalize: family && family.renormalize === undefined ? undefined : read.renormalize ?? family?.renormalize,
    scale: read.scale ?? family?.scale,
    groups: config.integer("groups") ?? family?.groups?.[0],
    topGroups: config.integer("topGroups") ?? family?.groups?.[1],
    jitter: config.number("jitter"),
  };
  if (!family && config.modelType === "" && scoring === undefined) {
    return {
      ...ofNames.router,
      ...definedMembers(options),
      ...ofNames.unknown.router && { unknown: `${ofNames.unknown.router}, and ${config.path} has no model_type` },
      ...ofNames.note && { note: ofNames.note },
    };
  }
  const method = config.string("topkMethod");
  if (family?.topkMethods && method !== undefined && !family.topkMethods.includes(method)) {
    // DeepSeek-V2's code has two methods, and DeepSeek-VL2 names a third one, with DeepSeek-V3's router.
    if (method === "noaux_tc") return { ...options, kind: "sigmoid-grouped" };
    const isGreedy = method === "group_limited_greedy" && (options.groups ?? 1) === 1;
    if (!isGreedy) return { ...options, unknown: `the topk_method ${quote(method)} is not supported` };
  }
  if (kind === undefined) {
    const problem = family || scoring !== undefined
      ? `the scoring function ${quote(scoring ?? "")} is not supported`
      : `the router of ${quote(config.modelType)} is unknown`;
    return { ...options, unknown: problem };
  }
  if (!family && read.renormalize === undefined) {
    return { ...options, unknown: `the router of ${quote(config.modelType)} is unknown` };
  }
  const note = `The family ${quote(config.modelType)} is unknown; the router is taken from ${config.path}`;
  const isGreedy = family?.topkMethods?.includes("greedy") && kind === "softmax";
  return {
    ...options,
    ...isGreedy && { groups: undefined, topGroups: undefined }, // only the other methods choose groups
    kind,
    ...!family && config.modelType !== "" && { note },
  };
}

/** Returns the router with a scoring function. Some families use one scoring function with or without groups. */
function kindOfScoring(scoring: string, family: Family | undefined): RouterKind | undefined {
  if (!Object.hasOwn(scorings, scoring)) return undefined;
  const kind = scorings[scoring]!;
  const own = family?.router;
  return own && routerRules[own].before === routerRules[kind].before ? own : kind;
}
