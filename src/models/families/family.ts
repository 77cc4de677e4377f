// What a family of models is, as data: how config.json describes a layer, and what its absence means.
import type { Activation } from "../../contract/experts.ts";
import type { RouterKind } from "../../routing/router.ts";

/** A value in config.json. */
export interface Setting<Value> {
  /** The keys for it. The first whose value is not null counts. */
  readonly keys: readonly string[];
  /** The value if no key is present. */
  readonly absent: Value;
  /** The value if config.json has null. Defaults to `absent`. */
  readonly null?: Value;
  /** What the words or numbers in config.json mean. Without it, config.json has the value itself. */
  readonly values?: Readonly<Record<string, Value>>;
}

/** A value that config.json has, or that is the same in all models of the family. */
export type Known<Value> = Value | Setting<Value>;

/** A value in config.json that cannot be expressed here. */
export interface Refusal {
  readonly key: string;
  /** The values that can be expressed, besides an absent one. */
  readonly unless?: readonly unknown[];
  readonly reason: string;
}

/** How the router decides. */
export interface FamilyRouter {
  /** The kind, or undefined if it is unknown. */
  readonly kind: Known<RouterKind | undefined>;
  readonly topK: Setting<number | undefined>;
  /** Whether the weights are divided by their sum. Absent if the code reads no key for it, and the kind decides. */
  readonly renormalize?: Known<boolean | undefined>;
  /** Whether the weight of a token's only expert stays as it is: divided by the sum, it would be 1. */
  readonly keepsOnlyWeight?: true;
  /** The small number that the code adds to the sum of the weights, if it is not the usual one of the kind. */
  readonly epsilon?: number;
  readonly scale?: Setting<number | undefined>;
  /** The rate at which training drops outputs of experts. Inference multiplies all weights by 1 minus this. */
  readonly dropout?: Setting<number>;
  readonly groups?: Setting<number | undefined>;
  readonly topGroups?: Setting<number | undefined>;
  readonly jitter?: Setting<number>;
  /** The logits x become cap · tanh(x / cap). A cap of 0 means none. */
  readonly logitCap?: Setting<number | undefined>;
}

/** How the experts compute. */
export interface FamilyExperts {
  readonly activation: Known<Activation>;
  readonly alpha?: Setting<number>;
  readonly limit?: Setting<number | undefined>;
  /** Whether the experts have a gate. Defaults to true. */
  readonly gated?: boolean;
  /** The order of gate and up in tensors that hold both. Defaults to "concatenated". */
  readonly gateUpLayout?: "interleaved" | "concatenated";
  /** The order of the dimensions of tensors of all experts, if their shapes may leave it open. */
  readonly weightLayout?: "out-in";
}

/** A family of models. */
export interface Family {
  /** The values of `model_type` in config.json. */
  readonly types: readonly string[];
  /** The code that the facts come from, as permalinks. */
  readonly sources: readonly string[];
  /** Why no layer of the family can be expressed here. */
  readonly refusal?: string;
  /** The key of an object in config.json that has the layer's settings, if they are not beside `model_type`. */
  readonly nested?: string;
  readonly router: FamilyRouter;
  readonly experts: FamilyExperts;
  /** The number of tokens of a sequence that an expert keeps at inference, in families that drop the others. */
  readonly expertCapacity?: Setting<number>;
  /** The epsilon of the layer's norms, in families whose layers begin with norms. */
  readonly normEpsilon?: Setting<number>;
  /** Values that cannot be expressed. */
  readonly refusals?: readonly Refusal[];
}

/** Describes a value that config.json has under a key. */
export function key<Value>(keys: string | readonly string[], absent: Value): Setting<Value> {
  return { keys: typeof keys === "string" ? [keys] : keys, absent };
}

/** Describes the number of experts of each token, by default under the key of most families. */
export function topK(
  absent?: number,
  keys: string | readonly string[] = "num_experts_per_tok",
): Setting<number | undefined> {
  return key<number | undefined>(keys, absent);
}

/** The activations, by their names in config.json. */
export const activations: Readonly<Record<string, Activation>> = {
  silu: "silu",
  swish: "silu",
  gelu: "gelu",
  gelu_new: "gelu-tanh",
  gelu_pytorch_tanh: "gelu-tanh",
  relu: "relu",
  relu2: "relu2",
  swigluoai: "swiglu-oai",
};

/** The experts of most families: a gate, and the activation that `hidden_act` names. */
export const gatedExperts: FamilyExperts = {
  activation: { keys: ["hidden_act", "hidden_activation"], absent: "silu", values: activations },
};

/** The experts of DeepSeek-V4 and others: gate and up are clamped before the activation. */
export const clampedExperts: FamilyExperts = {
  ...gatedExperts,
  limit: key<number | undefined>("swiglu_limit", undefined),
};

/** The kinds of router, by the names of their scoring functions in config.json. */
export const scorings = {
  sigmoid: "sigmoid-grouped",
  noaux_tc: "sigmoid-grouped", // dots1 has the method of choice here
  sqrtsoftplus: "sqrt-softplus",
  softmax: "softmax-grouped",
} as const satisfies Readonly<Record<string, RouterKind>>;

/** The router of DeepSeek-V3 with groups of experts, its defaults those of V3. */
export const correctedRouter = {
  kind: {
    keys: ["scoring_func", "score_function", "moe_router_activation_func"],
    absent: "sigmoid-grouped",
    values: scorings,
  },
  topK: topK(8),
  renormalize: key("norm_topk_prob", true),
  scale: key("routed_scaling_factor", 1),
  groups: key("n_group", 1),
  topGroups: key<number | undefined>("topk_group", undefined),
} as const satisfies FamilyRouter;

/** A softmax over all experts, whose weights are renormalized always, never, or if config.json says so. */
export function softmaxRouter(renormalize: Known<boolean>, count: FamilyRouter["topK"]): FamilyRouter {
  if (typeof renormalize !== "boolean") return { kind: "softmax", topK: count, renormalize };
  return { kind: renormalize ? "softmax-renormalize" : "softmax", topK: count };
}
