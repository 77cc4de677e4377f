// How a layer computes, from the configuration that models come with (Hugging Face's config.json) or from their names.
// Source: transformers, models/*/configuration_*.py and modeling_*.py.
import type { Activation } from "../../contract/experts.ts";
import type { ExpertsLayer } from "../../contract/moe.ts";
import type { RouterKind, RouterOptions } from "../../routing/router.ts";
import { SafetensorsError } from "../../safetensors/error.ts";
import { quote } from "../../text.ts";
import type { LayerNames } from "./layer_names.ts";

/** How experts compute, of a layer whose weights are yet to be read. */
export type ExpertsSettings = Pick<
  ExpertsLayer,
  "activation" | "activationAlpha" | "activationLimit" | "gated" | "gateUpLayout" | "weightLayout"
>;

/** A router's options but for the bias's values; what is absent is not known. */
export type RouterSettings = Omit<RouterOptions, "topK" | "correctionBias"> & { readonly topK?: number | undefined };

/** How a layer computes. */
export interface LayerSettings {
  readonly experts: ExpertsSettings;
  readonly router: RouterSettings;
}

/** Settings and the family of models that they are of. */
export interface FamilySettings extends LayerSettings {
  readonly family: string;
  /** Why the router's kind is not known. */
  readonly unknownRouter?: string;
  /** What a user should know of how the router's kind was found. */
  readonly note?: string;
}

const silu = { activation: "silu", gateUpLayout: "concatenated" } as const;

/** What the names of a layer's tensors tell: all but K, and of some not the router. */
export function settingsOfNames(names: LayerNames): FamilySettings {
  const { base, packing, router, correctionBias, routerBias } = names;
  if (packing === "granite") return { family: "granite", experts: silu, router: { kind: "topk-softmax" } };
  if (packing === "each") {
    if (base.endsWith("block_sparse_moe.") && !correctionBias) {
      const note =
        "The router is taken for Mixtral's by the tensors' names, which are Phi-3.5-MoE's too: --router sparse-mixer";
      return { family: "mixtral", experts: silu, router: { kind: "softmax-renormalize" }, note };
    }
    const unknownRouter = "models of several routers have tensors of these names";
    return { family: "unknown", experts: silu, router: {}, unknownRouter };
  }
  if (base.endsWith("feed_forward.")) return { family: "llama-4", experts: silu, router: { kind: "sigmoid-input" } };
  if (base.endsWith("mlp.") && routerBias) return { family: "gpt-oss", experts: {}, router: { kind: "topk-softmax" } };
  if (base.endsWith("mlp.")) {
    const unknownRouter = "models of several routers have such tensors";
    // "router" is gpt-oss's word, and so is the layout; those who say "gate" have gates and ups one after the other.
    return { family: "unknown", experts: router.endsWith("router.weight") ? {} : silu, router: {}, unknownRouter };
  }
  return { family: "yamoe", experts: {}, router: { kind: "softmax" } };
}

/** The activations that configurations name. */
const activations: Readonly<Record<string, Activation>> = {
  silu: "silu",
  swish: "silu",
  gelu: "gelu",
  gelu_new: "gelu-tanh",
  gelu_pytorch_tanh: "gelu-tanh",
  relu2: "relu2",
};

/**
 * What a configuration tells; of one that names no model, what the tensors' names tell, and K.
 *
 * @param json The content of a config.json.
 * @param path What messages call it.
 * @param ofNames What the tensors' names tell.
 * @throws {SafetensorsError} If a value is of a wrong type, or the model routes in a way that there is not here.
 */
export function settingsOfConfig(json: unknown, path: string, ofNames: FamilySettings): FamilySettings {
  const config = new Config(json, path);
  const family = config.string("model_type", "");
  const topK = config.integer("num_experts_per_tok") ?? config.integer("experts_per_token") ??
    config.integer("num_experts_per_token");
  if (family === "gpt_oss") {
    const activationLimit = config.number("swiglu_limit") ?? 7;
    return { family, experts: { activationLimit }, router: { kind: "topk-softmax", topK } };
  }
  const activation = config.activation(), limit = config.number("swiglu_limit");
  if (limit !== undefined && activation !== "silu") {
    throw new SafetensorsError(`${path}: swiglu_limit must come with the hidden_act silu, got ${activation}`);
  }
  const experts = { ...silu, activation, ...limit !== undefined && { activationLimit: limit } };
  const known = (kind: RouterKind) => ({ family, experts, router: { kind, topK } });
  const unknown = (unknownRouter: string) => ({ family, experts, router: { topK }, unknownRouter });
  if (family === "mixtral") return known("softmax-renormalize");
  if (family.startsWith("llama4")) return known("sigmoid-input");
  if (family.startsWith("granitemoe")) return known("topk-softmax");
  if (family === "phimoe") {
    const { router } = known("sparse-mixer");
    return { family, experts, router: { ...router, jitter: config.number("router_jitter_noise") } };
  }
  if (softmaxFamilies.includes(family)) {
    const method = config.string("topk_method", "greedy");
    if (method !== "greedy") return unknown(`its topk_method, ${quote(method)}, is not one of those here`);
    const router = known(config.boolean("norm_topk_prob", false) ? "softmax-renormalize" : "softmax").router;
    return { family, experts, router: { ...router, scale: config.number("routed_scaling_factor") } };
  }
  const scoring = config.string("scoring_func", correctedFamilies[family] ?? "");
  if (family === "" && scoring === "") {
    const { unknownRouter, experts, router } = ofNames;
    return {
      ...ofNames,
      experts: { ...experts, ...config.namesActivation && { activation } },
      router: { ...router, topK },
      ...unknownRouter && { unknownRouter: `${unknownRouter}, and ${path} has no model_type` },
    };
  }
  if (!Object.hasOwn(scorings, scoring)) return unknown(`the router of ${quote(family)} is not known here`);
  const kind = scorings[scoring]!;
  const grouped = kind === "sigmoid-grouped" && {
    groups: config.integer("n_group"),
    topGroups: config.integer("topk_group"),
  };
  const router = {
    kind,
    topK,
    ...grouped,
    renormalize: config.boolean("norm_topk_prob", true),
    scale: config.number("routed_scaling_factor"),
  };
  return { family, experts, router };
}

/** Families whose scores are a softmax. */
const softmaxFamilies = [
  "qwen2_moe",
  "qwen3_moe",
  "qwen3_next",
  "qwen3_vl_moe_text",
  "olmoe",
  "deepseek",
  "deepseek_v2",
];

/** Families whose scores are corrected by a bias for the choice, and what they score with. */
const correctedFamilies: Readonly<Record<string, string>> = {
  deepseek_v3: "sigmoid",
  deepseek_v32: "sigmoid",
  deepseek_v4: "sqrtsoftplus",
  dots1: "sigmoid",
  glm4_moe: "sigmoid",
  glm4v_moe_text: "sigmoid",
  kimi_k2: "sigmoid",
};

/** The kinds of router with such a bias, by the names of their scoring. */
const scorings: Readonly<Record<string, RouterKind>> = { sigmoid: "sigmoid-grouped", sqrtsoftplus: "sqrt-softplus" };

/**
 * How many neighbours in rows and columns have one scale in FP8, as a configuration tells.
 *
 * @throws {SafetensorsError} If it is no pair of positive integers.
 */
export function weightBlockOfConfig(json: unknown, path: string): readonly [number, number] | undefined {
  const block = members(members(json)?.quantization_config)?.weight_block_size;
  if (block === undefined || block === null) return undefined;
  const isPair = Array.isArray(block) && block.length === 2 &&
    block.every((size) => Number.isSafeInteger(size) && size > 0);
  if (isPair) return block as [number, number];
  throw new SafetensorsError(
    `${path}: weight_block_size must be two positive integers, got ${JSON.stringify(block)}`,
  );
}

/** Members of a configuration, of the types that they must have. Those of the text model where there are several. */
class Config {
  readonly #members: Readonly<Record<string, unknown>>;
  readonly #path: string;

  constructor(json: unknown, path: string) {
    this.#path = path;
    const outer = members(json);
    if (!outer) throw new SafetensorsError(`${path}: it must hold an object`);
    this.#members = members(outer.text_config) ?? outer;
  }

  string(name: string, standard: string): string {
    return this.#get(name, "a string", (value) => typeof value === "string") ?? standard;
  }

  boolean(name: string, standard: boolean): boolean {
    return this.#get(name, "true or false", (value) => typeof value === "boolean") ?? standard;
  }

  number(name: string): number | undefined {
    return this.#get(name, "a number", (value) => typeof value === "number");
  }

  integer(name: string): number | undefined {
    return this.#get(name, "a positive integer", (value) => Number.isSafeInteger(value) && value as number > 0);
  }

  /** Whether it says which activation there is. */
  get namesActivation(): boolean {
    return this.string("hidden_act", this.string("hidden_activation", "")) !== "";
  }

  activation(): Activation {
    const name = this.string("hidden_act", this.string("hidden_activation", "silu"));
    if (Object.hasOwn(activations, name)) return activations[name]!;
    throw new SafetensorsError(
      `${this.#path}: hidden_act must be one of ${Object.keys(activations).join(", ")}, got ${quote(name)}`,
    );
  }

  /** A member; null is as good as absent. */
  #get<Value>(name: string, expected: string, isValid: (value: unknown) => boolean): Value | undefined {
    const value = this.#members[name];
    if (value === undefined || value === null) return undefined;
    if (isValid(value)) return value as Value;
    throw new SafetensorsError(`${this.#path}: ${name} must be ${expected}, got ${JSON.stringify(value)}`);
  }
}

function members(json: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof json === "object" && json !== null && !Array.isArray(json)
    ? json as Record<string, unknown>
    : undefined;
}
