// How a layer computes, from a preset, or from the names of the tensors.
import { activationOptions } from "../../contract/activations.ts";
import type { ModelSettings } from "../families/settings_of_family.ts";
import type { Preset } from "../preset.ts";
import { type PresetName, presets } from "../presets.ts";
import type { LayerNames } from "./layer_names.ts";

const silu = { activation: "silu", gateUpLayout: "concatenated" } as const;

/** Returns what the tensors' names say. */
export function settingsOfNames({ base, packing, correctionBias, routerBias }: LayerNames): ModelSettings {
  if (packing.gateUp === "input_linear") {
    return { family: "granite", experts: silu, router: { kind: "topk-softmax" }, unknown: {} };
  }
  const isSplit = packing.gate !== undefined;
  if (isSplit && base.endsWith("block_sparse_moe.") && !correctionBias) {
    const note = "The names fit Mixtral and Phi-3.5-MoE; Mixtral's router is used, --router sparse-mixer is the other";
    return { family: "mixtral", experts: silu, router: { kind: "softmax-renormalize" }, unknown: {}, note };
  }
  const unknown = { router: "models with different routers have tensors of these names" };
  if (isSplit) return { family: "unknown", experts: silu, router: {}, unknown };
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
