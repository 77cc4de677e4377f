// What decides how a layer computes: the options first, then a preset, the model's configuration, and the names.
import { activationOptions } from "../../contract/activations.ts";
import type { MoeRouter } from "../../contract/moe.ts";
import { type Preset, type PresetName, presets } from "../presets.ts";
import { routerRules } from "../../routing/router.ts";
import { SafetensorsError } from "../../safetensors/error.ts";
import type { LayerNames } from "./layer_names.ts";
import {
  type ExpertsSettings,
  type FamilySettings,
  type LayerSettings,
  type RouterSettings,
  settingsOfConfig,
  settingsOfNames,
  weightBlockOfConfig,
} from "./model_config.ts";

/** Which layer of a checkpoint, and what is to differ from the model's way of computing. */
export interface LayerOptions extends ExpertsSettings, Omit<RouterSettings, "kind">, Pick<MoeRouter, "logitsDType"> {
  /** The layer's number; may be left out where there is only one. */
  readonly layer?: number | undefined;
  /** A preset whose way of computing is to be taken instead of the configuration's. */
  readonly preset?: PresetName | undefined;
  /** How the router decides; its other options are then its own, unless the model has the same kind. */
  readonly router?: RouterSettings["kind"];
}

/** A layer's settings with K decided. */
export interface ResolvedSettings extends LayerSettings, Pick<MoeRouter, "logitsDType"> {
  readonly router: RouterSettings & { readonly topK: number };
  /** Neighbours in rows and columns that have one scale in FP8. */
  readonly weightBlock: readonly [number, number];
}

/** Decides. */
export function resolveSettings(
  names: LayerNames,
  config: { readonly path: string; readonly json: unknown } | undefined,
  { layer: _layer, preset, router: kind, logitsDType, ...options }: LayerOptions,
): { readonly family: string; readonly settings: ResolvedSettings; readonly notes: readonly string[] } {
  const ofNames = settingsOfNames(names);
  const ofModel = preset
    ? settingsOfPreset(preset)
    : config
    ? settingsOfConfig(config.json, config.path, ofNames)
    : ofNames;
  const { topK, groups, topGroups, renormalize, scale, jitter, ...experts } = options;
  const router = { topK, groups, topGroups, renormalize, scale, jitter };

  const base = kind === undefined || kind === ofModel.router.kind ? ofModel.router : { topK: ofModel.router.topK };
  const decided: RouterSettings = { ...base, kind, ...given({ kind: kind ?? base.kind, ...router }) };
  if (decided.kind === undefined) {
    throw new SafetensorsError(
      `The router is needed, ${Object.keys(routerRules).join(", ")}: ${ofModel.unknownRouter}` +
        (config ? "" : ", and there is no config.json beside the weights"),
    );
  }
  if (decided.topK === undefined) {
    throw new SafetensorsError(
      `The number of experts of each token, top-k, is needed: ${
        config?.path ?? "there is no config.json beside that"
      } ` +
        (config ? "does not say it" : "could say it"),
    );
  }
  return {
    family: ofModel.family,
    settings: {
      experts: activationOf({ ...ofNames.experts, ...ofModel.experts, ...given(experts) }, experts),
      router: { ...decided, topK: decided.topK },
      logitsDType,
      weightBlock: (config && weightBlockOfConfig(config.json, config.path)) ?? deepSeekBlock,
    },
    notes: [
      ...names.correctionBias && routerRules[decided.kind].before === "none"
        ? [`The router kind ${decided.kind} leaves ${names.correctionBias} unused`]
        : [],
      ...kind === undefined && ofModel.note ? [ofModel.note] : [],
    ],
  };
}

/** What DeepSeek-V3 has, where there is no configuration to say it. */
const deepSeekBlock = [128, 128] as const;

/** Where options change the activation, what the model says of its own does not go with it. */
function activationOf(settings: ExpertsSettings, options: ExpertsSettings): ExpertsSettings {
  const { activationAlpha, activationLimit, ...rest } = settings;
  const { activationAlpha: alpha, activationLimit: limit } = options;
  const own = activationOptions({ ...rest, activationAlpha, activationLimit });
  return { ...rest, ...own, ...given({ activationAlpha: alpha, activationLimit: limit }) };
}

function settingsOfPreset(name: PresetName): FamilySettings {
  const preset: Preset = presets[name];
  const { correctionBias: _correctionBias, ...options } = preset.router;
  return {
    family: name,
    experts: { activation: preset.activation, ...activationOptions(preset) },
    router: { ...options, topK: preset.topK },
  };
}

function given<Values extends object>(values: Values): Partial<Values> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<Values>;
}
