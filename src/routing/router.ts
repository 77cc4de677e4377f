/**
 * Routers: how models compute the experts of a token and their weights from its logits.
 *
 * @module
 */
import { checkNames } from "../known_names.ts";
import { describeValue, formatShape, type Tensor } from "../tensor/tensor.ts";

/**
 * How a router chooses experts and weighs them. x are the logits of a token, one for each of E experts.
 *
 * - `"softmax"`: the weights are softmax(x), not renormalized over the K chosen experts (OLMoE; the reference job).
 * - `"topk-softmax"`: the experts with the K largest logits; the weights are the softmax over these (gpt-oss, Granite).
 * - `"softmax-renormalize"`: softmax(x), divided by the sum over the K chosen experts (Mixtral, Qwen3).
 * - `"sigmoid-grouped"`: sigmoid(x), chosen with `correctionBias` within the best `topGroups` of `groups` groups of
 *   experts, renormalized, times `scale` (DeepSeek-V3).
 * - `"softmax-grouped"`: softmax(x), chosen within the best `topGroups` of `groups` groups of experts (DeepSeek-V2).
 * - `"sigmoid"`: `"sigmoid-grouped"` without groups (Kimi K2, GLM-4.5).
 * - `"sigmoid-input"`: the experts with the K largest logits; sigmoid(x) multiplies their input (Llama 4).
 * - `"sqrt-softplus"`: √softplus(x), chosen with `correctionBias`, renormalized, times `scale` (DeepSeek-V4).
 * - `"sparse-mixer"`: the experts with the K largest logits, one after the other. The weight of each is its share of a
 *   softmax over the logits near it, (x_k − x) / max(|x|, x_k) ≤ 2 · `jitter`, without earlier choices (Phi-3.5-MoE).
 */
export type RouterKind =
  | "softmax"
  | "topk-softmax"
  | "softmax-renormalize"
  | "softmax-grouped"
  | "sigmoid-grouped"
  | "sigmoid"
  | "sigmoid-input"
  | "sqrt-softplus"
  | "sparse-mixer";

/**
 * Options of a router.
 *
 * @typeParam T A tensor on the host or on a backend.
 */
export interface RouterOptions<T = Tensor> {
  /**
   * How the router chooses experts.
   *
   * @default {"softmax"}
   */
  readonly kind?: RouterKind | undefined;
  /** K, the number of experts of each token: from 1 to E. */
  readonly topK: number;
  /** [E], f32: added to the scores for the choice only, not for the weights. Only for kinds that compute scores before the choice. */
  readonly correctionBias?: T | undefined;
  /**
   * The number of groups of E / groups neighboring experts. Only for `"sigmoid-grouped"` and `"softmax-grouped"`.
   *
   * @default {1}
   */
  readonly groups?: number | undefined;
  /**
   * The number of groups that a token chooses from. `"sigmoid-grouped"` takes the groups whose two best scores, with the
   * bias, have the largest sum; `"softmax-grouped"` those with the largest scores. Only for these two.
   *
   * @default {groups}
   */
  readonly topGroups?: number | undefined;
  /**
   * Whether the weights of a token's K experts are divided by their sum. The default depends on the kind. Only for kinds that
   * compute scores before the choice.
   */
  readonly renormalize?: boolean | undefined;
  /**
   * A small number that is added to the sum by which the weights are divided. The default depends on the kind: 1e-20 for
   * those with a correction bias, otherwise 0. Only for kinds that compute scores before the choice.
   */
  readonly epsilon?: number | undefined;
  /**
   * The factor of all weights.
   *
   * @default {1}
   */
  readonly scale?: number | undefined;
  /**
   * Half of the largest relative distance of a logit from the chosen one in the same softmax. Only for `"sparse-mixer"`.
   *
   * @default {0.01}
   */
  readonly jitter?: number | undefined;
}

/** A function from logits to scores. All keep the order of the logits. `"sparse-mixer"` only applies after the choice. */
export type Scoring = "none" | "softmax" | "sigmoid" | "sqrt-softplus" | "sparse-mixer";

/** The rule of a router kind. */
export interface RouterRule {
  /** The function that is applied to all E logits before the choice. */
  readonly before: Scoring;
  /** The function that is applied to the K chosen values after the choice. */
  readonly after: Scoring;
  /** Whether the weights are divided by their sum by default. */
  readonly renormalize: boolean;
  /** A small number that is added to this sum. */
  readonly epsilon: number;
  /** How many scores of a group, the largest ones, are summed to rank it; 0 if the experts cannot have groups. */
  readonly groupScores: 0 | 1 | 2;
  /** Whether the weights multiply the experts' input instead of their output. */
  readonly onInput: boolean;
}

const plain = {
  before: "none",
  after: "none",
  renormalize: false,
  epsilon: 0,
  groupScores: 0,
  onInput: false,
} as const;
const biased = { ...plain, renormalize: true, epsilon: 1e-20 } as const;

const knownOptions: Readonly<Record<keyof RouterOptions, true>> = {
  kind: true,
  topK: true,
  correctionBias: true,
  groups: true,
  topGroups: true,
  renormalize: true,
  epsilon: true,
  scale: true,
  jitter: true,
};
const optionNames = Object.keys(knownOptions);

/** The rule of every router kind. */
export const routerRules: Readonly<Record<RouterKind, RouterRule>> = {
  "softmax": { ...plain, before: "softmax" },
  "topk-softmax": { ...plain, after: "softmax" },
  "softmax-renormalize": { ...plain, before: "softmax", renormalize: true },
  "softmax-grouped": { ...plain, before: "softmax", groupScores: 1 },
  "sigmoid-grouped": { ...biased, before: "sigmoid", groupScores: 2 },
  "sigmoid": { ...biased, before: "sigmoid" },
  "sigmoid-input": { ...plain, after: "sigmoid", onInput: true },
  "sqrt-softplus": { ...biased, before: "sqrt-softplus" },
  "sparse-mixer": { ...plain, after: "sparse-mixer" },
};

/** A router with defaults filled in. */
export interface Router extends RouterRule {
  /** E. */
  readonly experts: number;
  /** K. */
  readonly topK: number;
  /** Whether a correction bias is added to the scores for the choice. */
  readonly biased: boolean;
  readonly groups: number;
  readonly topGroups: number;
  readonly scale: number;
  readonly jitter: number;
}

/**
 * Checks the options of a router for E experts and fills in the defaults.
 *
 * @throws {TypeError} If an option is unknown or of a wrong type.
 * @throws {RangeError} If an option is out of range, or does not apply to the kind.
 */
export function resolveRouter(
  options: RouterOptions<Pick<Tensor, "dtype" | "shape">>,
  experts: number,
): Router {
  if (typeof options !== "object" || options === null) {
    throw new TypeError(`router must be a number of experts or an object of options, got ${describeValue(options)}`);
  }
  checkNames("router", options, optionNames);
  const {
    kind = "softmax",
    topK,
    correctionBias,
    groups = 1,
    topGroups = groups,
    renormalize,
    epsilon,
    scale = 1,
    jitter,
  } = options;
  if (typeof kind !== "string" || !Object.hasOwn(routerRules, kind)) {
    throw new RangeError(`kind must be one of ${Object.keys(routerRules).join(", ")}, got ${describeValue(kind)}`);
  }
  const rule = routerRules[kind];
  const refuse = (option: string) => {
    throw new RangeError(`${option} does not apply to the router kind "${kind}"`);
  };
  checkInteger("topK", topK, experts, "the number of experts");
  if (rule.groupScores === 0 && (groups !== 1 || topGroups !== 1)) refuse(groups !== 1 ? "groups" : "topGroups");
  checkInteger("groups", groups, experts, "the number of experts");
  checkInteger("topGroups", topGroups, groups, "the number of groups");
  const groupSize = experts / groups;
  if (!Number.isInteger(groupSize)) {
    throw new RangeError(`groups must divide the number of experts, ${experts}, got ${groups}`);
  }
  if (groups > 1 && groupSize < rule.groupScores) {
    throw new RangeError(`groups must hold at least two experts each, got ${groups} groups of ${experts} experts`);
  }
  if (topGroups * groupSize < topK) {
    throw new RangeError(`topGroups must hold at least topK experts, ${topK}, got ${topGroups} groups of ${groupSize}`);
  }
  if (rule.before === "none") {
    if (correctionBias !== undefined) refuse("correctionBias");
    if (renormalize !== undefined) refuse("renormalize");
    if (epsilon !== undefined) refuse("epsilon");
  }
  if (correctionBias !== undefined) checkBias(correctionBias, experts);
  if (renormalize !== undefined && typeof renormalize !== "boolean") {
    throw new TypeError(`renormalize must be a boolean, got ${describeValue(renormalize)}`);
  }
  if (epsilon !== undefined && !isFiniteSize(epsilon)) {
    throw new RangeError(`epsilon must be a finite number of f32 of at least 0, got ${describeValue(epsilon)}`);
  }
  if (typeof scale !== "number" || !Number.isFinite(Math.fround(scale))) {
    throw new RangeError(`scale must be a finite number of f32, got ${describeValue(scale)}`);
  }
  if (jitter !== undefined) {
    if (rule.after !== "sparse-mixer") refuse("jitter");
    if (!isFiniteSize(jitter)) {
      throw new RangeError(`jitter must be a finite number of f32 of at least 0, got ${describeValue(jitter)}`);
    }
  }
  return {
    ...rule,
    experts,
    topK,
    biased: correctionBias !== undefined,
    groups,
    topGroups,
    renormalize: renormalize ?? rule.renormalize,
    epsilon: Math.fround(epsilon ?? rule.epsilon),
    scale: Math.fround(scale), // all backends multiply by the same f32 number
    jitter: Math.fround(jitter ?? 0.01),
  };
}

function checkBias(bias: Pick<Tensor, "dtype" | "shape">, experts: number): void {
  if (typeof bias !== "object" || bias === null || !Array.isArray(bias.shape)) {
    throw new TypeError(`correctionBias must be a tensor, got ${describeValue(bias)}`);
  }
  const { dtype, shape } = bias;
  if (dtype !== "f32") throw new TypeError(`correctionBias must be of dtype f32, got ${dtype}`);
  if (shape.length !== 1 || shape[0] !== experts) {
    throw new RangeError(`correctionBias must have shape [${experts}], got ${formatShape(shape)}`);
  }
}

function isFiniteSize(value: number): boolean {
  return typeof value === "number" && value >= 0 && Math.fround(value) < Infinity;
}

function checkInteger(name: string, value: number, maximum: number, meaning: string): void {
  if (Number.isInteger(value) && value >= 1 && value <= maximum) return;
  throw new RangeError(`${name} must be an integer from 1 to ${meaning}, ${maximum}, got ${describeValue(value)}`);
}
