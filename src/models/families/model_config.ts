// A model's config.json: finds the part that describes the language model, and reads values from it.
import { SafetensorsError } from "../../safetensors/error.ts";
import { quote } from "../../text.ts";
import type { Quantization } from "../formats/stored_weight.ts";
import { type Family, key, type Known, type Setting } from "./family.ts";
import { familyOf, familyTypes, topKKeys } from "./mod.ts";

type Members = Readonly<Record<string, unknown>>;

/** Keys of nested configurations of language models, outermost first. */
const nestedKeys = [
  ...["thinker_config", "text_config", "llm_config", "language_config", "language_model_config", "llm_cfg"],
  ...["text_model_config", "decoder"],
];

/** The keys of what config.json says about quantization. */
const quantizationKeys = ["quantization_config", "quantization", "compression_config"];

/** What DeepSeek-V3 has. Models without the key use the same. */
const standardBlock = [128, 128] as const;

/** The configuration of a language model. */
export class ModelConfig {
  /** The path of config.json, for messages. */
  readonly path: string;
  /** The value of `model_type`, or "" if it is absent. */
  readonly modelType: string;
  /** The family of that type, if it is known. */
  readonly family: Family | undefined;
  /** The number of layers, if config.json has it. */
  readonly layers: number | undefined;
  readonly #levels: readonly Members[];
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
    const levels = [outer];
    for (let level = nested(outer, component); level; level = nested(level, component)) levels.unshift(level);
    this.#levels = levels;
    const types = levels.map(({ model_type }) => model_type).filter((type) => typeof type === "string");
    this.modelType = types.find(familyOf) ?? levels.map(typeOfArchitecture).find((type) => type) ?? types[0] ?? "";
    this.family = familyOf(this.modelType);
    const own = this.family?.nested && members(levels[0]![this.family.nested]);
    this.#members = own ? { ...levels[0], ...own } : levels[0]!;
    this.layers = this.integer(
      key<number | undefined>(["num_hidden_layers", "n_layers", "n_layer", "num_layers"], undefined),
    );
  }

  /**
   * Reads a value that config.json has, or that the family fixes.
   *
   * @param setting The value, or its keys and what their absence means.
   * @param expected What the value must be, for messages.
   * @param isValid Whether a value of config.json is what it must be.
   * @param layer The layer's number. If config.json has a list, the layer's element counts.
   * @throws {SafetensorsError} If the value is not valid, or a list has no element for the layer.
   */
  read<Value>(
    setting: Known<Value>,
    expected: string,
    isValid: (value: unknown) => boolean,
    layer = 0,
  ): Value {
    if (!isSetting(setting)) return setting;
    const found = this.#keyIn(setting);
    if (found === undefined) return setting.absent;
    const value = this.#elementOf(found, layer);
    if (value === null || value === undefined) return "null" in setting ? setting.null as Value : setting.absent;
    if (setting.values && typeof value !== "object" && Object.hasOwn(setting.values, `${value}`)) {
      return setting.values[`${value}`]!;
    }
    if (!setting.values && isValid(value)) return value as Value;
    const words = Object.keys(setting.values ?? {});
    throw this.#error(found, words.length > 0 ? `one of ${words.join(", ")}` : expected, value);
  }

  /** Reads a positive integer. */
  integer<Value extends number | undefined>(setting: Known<Value>, layer?: number): Value {
    const isValid = (value: unknown) => Number.isSafeInteger(value) && value as number > 0;
    return this.read(setting, "a positive integer", isValid, layer);
  }

  /** Reads a number. */
  number<Value extends number | undefined>(setting: Known<Value>, layer?: number): Value {
    return this.read(setting, "a number", (value) => typeof value === "number", layer);
  }

  /** Reads a boolean. */
  boolean<Value extends boolean | undefined>(setting: Known<Value>, layer?: number): Value {
    return this.read(setting, "true or false", (value) => typeof value === "boolean", layer);
  }

  /** Reads a word whose meaning the setting has. A word without a meaning is a problem that an option may solve. */
  word<Value>(setting: Known<Value>, layer = 0): { readonly value?: Value; readonly problem?: string } {
    if (!isSetting(setting)) return { value: setting };
    const found = this.#keyIn(setting);
    const word = found === undefined ? undefined : this.#elementOf(found, layer);
    if (found === undefined || word === undefined || word === null) return { value: setting.absent };
    if (typeof word !== "string") throw this.#error(found, "a string", word);
    if (Object.hasOwn(setting.values ?? {}, word)) return { value: setting.values![word]! };
    return { problem: `the ${found} ${quote(word)} is not supported` };
  }

  /** Returns whether config.json has one of a setting's keys. */
  has(setting: Known<unknown>): boolean {
    return isSetting(setting) && setting.keys.some((key) => this.#members[key] !== undefined);
  }

  /** Returns the key under which config.json has a value, or the most common one. */
  keyOf(setting: Known<unknown>): string {
    if (!isSetting(setting)) return "";
    return this.#keyIn(setting) ?? setting.keys[0]!;
  }

  /** Finds the key of a setting: the first with a value, or else the first that is null. */
  #keyIn({ keys }: Setting<unknown>): string | undefined {
    const present = keys.filter((key) => this.#members[key] !== undefined);
    return present.find((key) => this.#members[key] !== null) ?? present[0];
  }

  /** Returns the value of a key, as `valueOf` does. A list must have an element for the layer. */
  #elementOf(key: string, layer: number): unknown {
    const list = this.#members[key];
    if (!Array.isArray(list) || layer < list.length) return this.valueOf(key, layer);
    throw new SafetensorsError(
      `${this.path}: ${key} must have an element for layer ${layer}, got a list of length ${list.length}`,
    );
  }

  /** Returns the value of a key: a layer's own if it is a list, the name if it is an object with one. */
  valueOf(key: string, layer = 0): unknown {
    const value = this.#members[key];
    if (Array.isArray(value)) return value[layer];
    return members(value)?.name ?? value;
  }

  /**
   * Reads what config.json says about quantization.
   *
   * @throws {SafetensorsError} If a value is not valid.
   */
  get quantization(): Quantization {
    const found = this.#levels.flatMap((level) => quantizationKeys.map((key) => members(level[key])))
      .find((quantization) => quantization);
    if (!found) return { block: standardBlock, overrides: {} };
    const groups = weightGroups(found);
    const block = found.weight_block_size ?? groups.map(({ block_structure }) => block_structure).find(Array.isArray) ??
      standardBlock;
    const isPair = Array.isArray(block) && block.length === 2 &&
      block.every((size) => Number.isSafeInteger(size) && size > 0);
    if (!isPair) {
      throw new SafetensorsError(
        `${this.path}: weight_block_size must be two positive integers, got ${JSON.stringify(block)}`,
      );
    }
    const sizes = (from: Members) => ({ bits: count(from.bits), groupSize: count(from.group_size) });
    return {
      block: block as [number, number],
      ...sizes({ bits: onlyOf(groups, "num_bits"), group_size: onlyOf(groups, "group_size"), ...found }),
      hasZeroPoints: onlyOf(groups, "symmetric") === false,
      checkpointFormat: typeof found.checkpoint_format === "string" ? found.checkpoint_format : undefined,
      overrides: Object.fromEntries(
        Object.entries(found).flatMap(([name, own]) => members(own) ? [[name, defined(sizes(members(own)!))]] : []),
      ),
    };
  }

  #error(key: string, expected: string, value: unknown): SafetensorsError {
    const text = typeof value === "string" ? quote(value) : JSON.stringify(value);
    return new SafetensorsError(`${this.path}: ${key} must be ${expected}, got ${text}`);
  }
}

/** Finds the family of the model class that a configuration names, such as `Qwen3MoeForCausalLM`. */
function typeOfArchitecture({ architectures }: Members): string | undefined {
  const plain = (name: string) => name.toLowerCase().replaceAll(/[_-]/g, "");
  const [name] = Array.isArray(architectures) ? architectures : [];
  if (typeof name !== "string") return undefined;
  const model = plain(name.replace(/(?:For[A-Z]\w*|LMHeadModel|Model)$/, ""));
  return familyTypes.find((type) => plain(type) === model);
}

/** How the weights of each group of layers are quantized (compressed-tensors). */
function weightGroups({ config_groups }: Members): readonly Members[] {
  return Object.values(members(config_groups) ?? {}).map((group) => members(members(group)?.weights) ?? {});
}

/** The value of a key that all groups have in common. */
function onlyOf(groups: readonly Members[], key: string): unknown {
  const [value, ...others] = new Set(groups.map((group) => group[key]));
  return others.length === 0 ? value : undefined;
}

function count(value: unknown): number | undefined {
  return Number.isSafeInteger(value) && value as number > 0 ? value as number : undefined;
}

function defined<Values extends object>(values: Values): { [Name in keyof Values]?: NonNullable<Values[Name]> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [Name in keyof Values]?: NonNullable<Values[Name]>;
  };
}

function isSetting<Value>(setting: Known<Value>): setting is Setting<Value> {
  return typeof setting === "object" && setting !== null && "keys" in setting;
}

function nested(level: Members, component: string): Members | undefined {
  const found = [`${component}_config`, ...nestedKeys].find((key) => members(level[key])) ?? unnamedNested(level);
  return found === undefined ? undefined : members(level[found]);
}

/** Finds the only nested configuration with experts, if the configuration around it has none. */
function unnamedNested(level: Members): string | undefined {
  const hasExperts = (candidate: unknown) => topKKeys.some((key) => typeof members(candidate)?.[key] === "number");
  if (hasExperts(level)) return undefined;
  const found = Object.keys(level).filter((key) => key.endsWith("_config") && hasExperts(level[key]));
  return found.length === 1 ? found[0] : undefined;
}

function members(json: unknown): Members | undefined {
  return typeof json === "object" && json !== null && !Array.isArray(json) ? json as Members : undefined;
}
