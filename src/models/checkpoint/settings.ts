// Decides how a layer computes: options first, then a preset or config.json, then the names of the tensors.
import { activationOptions } from "../../contract/activations.ts";
import type { ExpertsComputation } from "../../contract/experts.ts";
import type { MoeRouter } from "../../contract/moe.ts";
import { definedMembers } from "../../known_names.ts";
import { type RouterKind, type RouterOptions, routerRules } from "../../routing/router.ts";
import { SafetensorsError } from "../../safetensors/error.ts";
import type { PresetName } from "../presets.ts";
import type { LayerChoice, LayerNames } from "./layer_names.ts";
import { unknownFamily } from "../families/mod.ts";
import type { ModelConfig } from "../families/model_config.ts";
import { type ModelSettings, type RouterSettings, settingsOfConfig } from "../families/settings_of_family.ts";
import type { Quantization } from "../formats/stored_weight.ts";
import { missingParts } from "./missing_parts.ts";
import { settingsOfNames, settingsOfPreset } from "./model_settings.ts";

/** Which layer of a checkpoint to open, and what replaces the model's own way of computing. */
export interface LayerOptions
  extends LayerChoice, Readonly<ExpertsComputation>, Omit<RouterSettings, "kind">, Pick<MoeRouter, "logitsDType"> {
  /** A preset whose way of computing replaces that of config.json. */
  readonly preset?: PresetName | undefined;
  /** The router kind. The other options of the router stay the model's. */
  readonly router?: RouterSettings["kind"];
}

/** How a layer computes. */
export interface ResolvedSettings extends Pick<MoeRouter, "logitsDType" | "logitCap"> {
  readonly experts: Readonly<ExpertsComputation>;
  readonly router: Omit<RouterOptions, "correctionBias"> & { readonly kind: RouterKind };
  /** The epsilon of the layer's norms, if it has any. */
  readonly normEpsilon: number;
  readonly quantization: Quantization;
  /** The number of tokens of a sequence that an expert keeps, if it drops the others. */
  readonly expertCapacity: number | undefined;
}

/** What is assumed of weights without a configuration. */
const defaultQuantization: Quantization = { block: [128, 128], overrides: {} };

/** The epsilon of norms in weights without a configuration. */
const standardEpsilon = 1e-6;

/**
 * Decides how a layer computes.
 *
 * @param names The names of the layer's tensors.
 * @param config The model's configuration.
 * @param options What replaces the model's way of computing.
 * @returns The family, the settings, and notes for the user.
 * @throws {SafetensorsError} If something is unknown that an option could say, or options contradict the model.
 */
export function resolveSettings(
  names: LayerNames,
  config: ModelConfig | undefined,
  options: LayerOptions,
): { readonly family: string; readonly settings: ResolvedSettings; readonly notes: readonly string[] } {
  const { layer: _layer, prefix: _prefix, preset, router: kind, logitsDType, ...rest } = options;
  const { topK, groups, topGroups, renormalize, scale, jitter, ...experts } = rest;
  const ofNames = settingsOfNames(names);
  const model = preset ? settingsOfPreset(preset) : config ? ofConfig(config, ofNames, names.layer) : ofNames;
  const given = definedMembers({ kind, topK, groups, topGroups, renormalize, scale, jitter });
  const { router, notes } = resolveRouterSettings(model, given);
  // Gate and up in tensors of their own are never interleaved, whatever the family's tensors of both are.
  const own = names.packing.gateUp ? model.experts : { ...model.experts, gateUpLayout: "concatenated" as const };
  const computation = { ...definedMembers(own), ...definedMembers(experts) };
  expectKnown({ ...computation, ...router }, model, config);
  return {
    family: model.family,
    settings: {
      experts: withOwnOptions(computation, experts, config),
      router: router as ResolvedSettings["router"],
      logitsDType,
      logitCap: model.logitCap,
      normEpsilon: model.normEpsilon ?? standardEpsilon,
      quantization: config?.quantization ?? defaultQuantization,
      expertCapacity: model.expertCapacity,
    },
    notes: [
      ...notes,
      ...names.correctionBias && router.kind && routerRules[router.kind].before === "none"
        ? [`The router kind ${router.kind} does not use ${names.correctionBias}`]
        : [],
      ...config ? missingParts(names, config) : [],
      ...kind === undefined && model.note ? [model.note] : [],
      ...model.expertCapacity === undefined ? [] : [
        `An expert of the model keeps the first ${model.expertCapacity} of its tokens in a sequence (expert_capacity), ` +
        "and the input counts as one sequence",
      ],
      ...names.norms
        ? ["The input is that of the decoder's pre_feedforward_layernorm_2, and no norm follows the experts"]
        : [],
    ],
  };
}

/** Returns what config.json says. If it has no model_type, the names of the tensors say the rest. */
function ofConfig(config: ModelConfig, ofNames: ModelSettings, layer: number | undefined): ModelSettings {
  const settings = settingsOfConfig(config, layer);
  if (config.modelType !== "" || settings.router.kind) return settings;
  const { router: unknownRouter, activation: unknownActivation } = ofNames.unknown;
  const { activation, activationLimit } = settings.experts;
  const namesActivation = !ofNames.ignoresActivation && config.has(unknownFamily.experts.activation);
  return {
    ...ofNames,
    experts: { ...ofNames.experts, ...namesActivation && { activation }, ...definedMembers({ activationLimit }) },
    router: { ...ofNames.router, ...definedMembers(settings.router) },
    unknown: {
      ...unknownRouter && { router: `${unknownRouter}, and ${config.path} has no model_type` },
      ...!namesActivation && unknownActivation && { activation: unknownActivation },
      ...namesActivation && settings.unknown.activation && { activation: settings.unknown.activation },
    },
  };
}

/** Merges the router's options: a given option replaces the model's option of the same name, and no other. */
function resolveRouterSettings(
  { router: model }: ModelSettings,
  given: RouterSettings,
): { readonly router: RouterSettings; readonly notes: readonly string[] } {
  const merged = { ...definedMembers(model), ...given };
  const { kind } = merged;
  if (kind === undefined) return { router: merged, notes: [] };
  const { before, groupScores, renormalize: standard, after } = routerRules[kind];
  const notes: string[] = [];
  const router: { -readonly [Name in keyof RouterSettings]: RouterSettings[Name] } = { ...merged };
  const drop = (name: "groups" | "topGroups" | "jitter" | "renormalize" | "epsilon") => {
    if (given[name] === undefined) delete router[name]; // given options are checked with the router
  };
  if (groupScores === 0) {
    if ((router.groups ?? 1) > 1 && given.groups === undefined) {
      throw new SafetensorsError(
        `The model chooses from ${
          router.topGroups ?? router.groups
        } of ${router.groups} groups of experts, which the ` +
          `router kind ${kind} cannot do: expected --router sigmoid-grouped or softmax-grouped, or --groups 1`,
      );
    }
    drop("groups");
    drop("topGroups");
    if (router.groups === 1) delete router.groups;
  }
  if (after !== "sparse-mixer") drop("jitter");
  if (before === "none") {
    if (router.renormalize !== undefined && router.renormalize !== (after === "softmax") && given.kind) {
      notes.push(
        `The router kind ${kind} ignores that the model ${
          router.renormalize ? "renormalizes" : "does not renormalize"
        } weights`,
      );
    }
    drop("renormalize");
    drop("epsilon");
  }
  if (given.kind === "softmax-renormalize") drop("renormalize");
  if (kind === "softmax" && router.renormalize === true) {
    router.kind = "softmax-renormalize";
    delete router.renormalize;
  }
  if (router.renormalize === standard) delete router.renormalize;
  return { router, notes };
}

/** Refuses settings that are unknown, with the options that say them. */
function expectKnown(
  settings: RouterSettings & ExpertsComputation,
  { unknown }: ModelSettings,
  config: ModelConfig | undefined,
): void {
  const { kind, topK, activation, gated = true, gateUpLayout } = settings;
  const missing: string[] = [];
  if (kind === undefined) {
    missing.push(`The router is needed (--router ${Object.keys(routerRules).join(", ")}): ${unknown.router}`);
  }
  if (topK === undefined) {
    missing.push(
      "The number of experts of each token, top-k, is needed (--top-k)" +
        (config ? `: ${config.path} does not have it` : ""),
    );
  }
  if (activation === undefined) missing.push(`The activation is needed (--activation): ${unknown.activation}`);
  else if (gated && gateUpLayout === undefined && activation !== "swiglu-oai") {
    missing.push("The order of gate and up columns is needed (--gate-up-layout interleaved, concatenated)");
  }
  if (missing.length === 0) return;
  const where = config ? "" : "; found no config.json beside the weights";
  throw new SafetensorsError(missing.join(". ") + where);
}

/** Removes the model's options of an activation that another activation replaces. */
function withOwnOptions(
  { activationAlpha, activationLimit, ...rest }: ExpertsComputation,
  given: ExpertsComputation,
  config: ModelConfig | undefined,
): ExpertsComputation {
  const own = activationOptions({ ...rest, activationAlpha, activationLimit });
  if (activationLimit !== undefined && !("activationLimit" in own) && given.activation === undefined && config) {
    throw new SafetensorsError(
      `${config.path}: ${
        config.keyOf(config.family?.experts.limit ?? unknownFamily.experts.limit)
      } is for SiLU with a gate and SwiGLU, got ${rest.activation}`,
    );
  }
  const asked = { activationAlpha: given.activationAlpha, activationLimit: given.activationLimit };
  return { ...rest, ...definedMembers(own), ...definedMembers(asked) };
}
