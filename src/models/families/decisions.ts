// What a configuration decides about a layer, and from where.
import type { ExpertsComputation } from "../../contract/experts.ts";
import type { RouterSettings } from "./settings_of_family.ts";
import { unknownFamily } from "./mod.ts";
import type { Known } from "./family.ts";
import type { ModelConfig } from "./model_config.ts";

/** A value that decides how a layer computes. */
export interface Decision {
  readonly name: string;
  readonly value: string | number | boolean;
  /** The key of config.json, or what decides instead of it. */
  readonly from: string;
}

/** Where a layer's settings come from: the values that are in use, each with its source. */
export function decisionsOf(
  config: ModelConfig | undefined,
  router: RouterSettings,
  experts: ExpertsComputation & { readonly logitCap: number | undefined; readonly normEpsilon: number | undefined } & {
    readonly expertCapacity: number | undefined;
  },
): Decision[] {
  const family = config && (config.family ?? unknownFamily);
  const settings: Readonly<Record<string, Known<unknown>>> = {
    kind: family?.router.kind,
    topK: family?.router.topK,
    renormalize: family?.router.renormalize,
    scale: family?.router.scale ?? family?.router.dropout,
    groups: family?.router.groups,
    topGroups: family?.router.topGroups,
    jitter: family?.router.jitter,
    logitCap: family?.router.logitCap,
    activation: family?.experts.activation,
    activationAlpha: family?.experts.alpha,
    activationLimit: family?.experts.limit,
    gated: family?.experts.gated,
    expertCapacity: family?.expertCapacity,
    normEpsilon: family?.normEpsilon,
  };
  const sourceOf = (name: string) => {
    if (!config || config.modelType === "" && name !== "topK") return "the names of the tensors";
    const setting = settings[name];
    if (config.has(setting)) return `config.json: ${config.keyOf(setting)}`;
    return typeof setting === "object" ? `the default of ${config.modelType}` : `the code of ${config.modelType}`;
  };
  const named = { ...router, ...experts };
  return Object.entries(named).flatMap(([name, value]) =>
    name in settings && ["string", "number", "boolean"].includes(typeof value)
      ? [{ name: names[name] ?? name, value: value as Decision["value"], from: sourceOf(name) }]
      : []
  );
}

/** Decisions whose name is another than the option's. */
const names: Readonly<Record<string, string>> = { kind: "router" };
