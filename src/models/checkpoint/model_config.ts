// Typed access to a model's config.json. Families call the same things by different keys and nest their configurations.
import { SafetensorsError } from "../../safetensors/error.ts";
import { quote } from "../../text.ts";

type Members = Readonly<Record<string, unknown>>;

/** Keys of nested configurations of language models, outermost first. */
const nestedKeys = ["text_config", "llm_config", "language_config", "thinker_config"] as const;

/** What the loader reads, and the keys that families use for it. The first key that is present counts. */
const keys = {
  topK: [
    ...["num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_k", "moe_topk", "moe_top_k"],
    ...["top_k_experts", "n_activated_experts"],
  ],
  scoring: ["scoring_func", "score_function", "score_func", "moe_router_activation_func"],
  topkMethod: ["topk_method"],
  renormalize: ["norm_topk_prob", "moe_renormalize", "route_norm"],
  scale: ["routed_scaling_factor", "route_scale"],
  groups: ["n_group", "num_expert_group", "n_expert_groups"],
  topGroups: ["topk_group", "n_limited_groups"],
  jitter: ["router_jitter_noise"],
  activation: ["hidden_act", "hidden_activation", "mlp_hidden_act"],
  activationAlpha: ["swiglu_alpha"],
  activationLimit: ["swiglu_limit"],
  layers: ["num_hidden_layers"],
} as const;

/** The name of a value that the loader reads. */
type Name = keyof typeof keys;

/** The configuration of a language model. A member that is null counts as absent. */
export class ModelConfig {
  /** The path of config.json, for messages. */
  readonly path: string;
  /** The value of `model_type`, or "" if it is absent. */
  readonly modelType: string;
  readonly #outer: Members;
  readonly #members: Members;

  /**
   * Finds the language model's configuration.
   *
   * @param json The content of config.json.
   * @param path The path of config.json.
   * @param component The first word of the tensors' names, such as `talker` or `model`. It selects between the nested
   * configurations of models with several parts.
   * @throws {SafetensorsError} If the content is not an object.
   */
  constructor(json: unknown, path: string, component = "") {
    this.path = path;
    const outer = members(json);
    if (!outer) throw new SafetensorsError(`${path}: expected an object`);
    this.#outer = outer;
    const levels = [outer];
    for (let level: Members | undefined = outer; level; level = nested(level, component)) levels.push(level);
    this.#members = levels.at(-1)!;
    const types = levels.map(({ model_type }) => model_type).filter((type) => typeof type === "string");
    this.modelType = types.at(-1) ?? "";
  }

  /** Reads a string. */
  string(name: Name): string | undefined {
    return this.#get(name, "a string", (value) => typeof value === "string");
  }

  /** Reads a boolean. */
  boolean(name: Name): boolean | undefined {
    return this.#get(name, "true or false", (value) => typeof value === "boolean");
  }

  /** Reads a number. */
  number(name: Name): number | undefined {
    return this.#get(name, "a number", (value) => typeof value === "number");
  }

  /** Reads a positive integer. */
  integer(name: Name): number | undefined {
    return this.#get(name, "a positive integer", (value) => Number.isSafeInteger(value) && value as number > 0);
  }

  /** Reads a count that only helps to find the layer. Returns undefined if it is not a positive integer. */
  count(name: Name): number | undefined {
    const value = this.#members[keys[name][0]];
    return typeof value === "number" && Number.isSafeInteger(value) && value > 0 ? value : undefined;
  }

  /** Returns the key that config.json has for a value, or the most common one. */
  key(name: Name): string {
    return keys[name].find((key) => this.#members[key] !== undefined) ?? keys[name][0];
  }

  /**
   * Reads how many rows and columns share one scale in block FP8.
   *
   * @throws {SafetensorsError} If the value is not two positive integers.
   */
  get weightBlock(): readonly [number, number] | undefined {
    const quantization = members(this.#members.quantization_config) ?? members(this.#outer.quantization_config);
    const block = quantization?.weight_block_size;
    if (block === undefined || block === null) return undefined;
    const isPair = Array.isArray(block) && block.length === 2 &&
      block.every((size) => Number.isSafeInteger(size) && size > 0);
    if (isPair) return block as [number, number];
    throw new SafetensorsError(
      `${this.path}: weight_block_size must be two positive integers, got ${JSON.stringify(block)}`,
    );
  }

  #get<Value>(name: Name, expected: string, isValid: (value: unknown) => boolean): Value | undefined {
    const key = keys[name].find((key) => this.#members[key] !== undefined && this.#members[key] !== null);
    if (key === undefined) return undefined;
    const value = this.#members[key];
    if (isValid(value)) return value as Value;
    const text = typeof value === "string" ? quote(value) : JSON.stringify(value);
    throw new SafetensorsError(`${this.path}: ${key} must be ${expected}, got ${text}`);
  }
}

function nested(level: Members, component: string): Members | undefined {
  const found = [`${component}_config`, ...nestedKeys].find((key) => members(level[key])) ?? unnamedNested(level);
  return found === undefined ? undefined : members(level[found]);
}

/** Finds the only nested configuration with experts, if the configuration around it has none. */
function unnamedNested(level: Members): string | undefined {
  const hasExperts = (candidate: unknown) => keys.topK.some((key) => typeof members(candidate)?.[key] === "number");
  if (hasExperts(level)) return undefined;
  const found = Object.keys(level).filter((key) => key.endsWith("_config") && hasExperts(level[key]));
  return found.length === 1 ? found[0] : undefined;
}

function members(json: unknown): Members | undefined {
  return typeof json === "object" && json !== null && !Array.isArray(json) ? json as Members : undefined;
}
