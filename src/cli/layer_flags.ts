// The flags for what `yamoe bench` times: which op, whose weights, and how the tokens are routed.
import { type Activation, activationRules, activations } from "../contract/activations.ts";
import type { RouterPreset } from "../models/preset.ts";
import { type RouterKind, routerRules } from "../routing/router.ts";
import { drawnFormats } from "../workload/drawn_weights.ts";
import type { Job, JobChanges } from "../workload/workload.ts";
import { choice, ExpectationError, type Flag, integer, orText, text } from "./flags.ts";
import { jobFlags } from "./job_flags.ts";

const skewExpectation = 'a number from 0 to 100, or "worst"';

const skew: Flag<number | "worst"> = {
  value: "X|worst",
  summary: "Zipf exponent of the experts' popularity; with worst, all tokens choose the same experts " +
    "(default: 0, the router's own choice)",
  words: ["0", "0.5", "1", "worst"],
  openWords: true,
  parse(given) {
    if (given === "worst") return "worst";
    const exponent = Number(given);
    if (/^[\d.]+$/.test(given) && exponent >= 0 && exponent <= 100) return exponent;
    throw new ExpectationError(skewExpectation);
  },
};

/** Flags for what is timed. */
export const layerFlags = {
  op: choice("NAME", "What to time: the experts, or the whole layer with router and shared expert (default: experts)", [
    "experts",
    "moe",
  ]),
  weights: {
    ...text(
      "FORMAT|DIR",
      `${drawnFormats.join(", ")}; or the path of a checkpoint, whose layer is timed (default: dense)`,
    ),
    ...{ words: drawnFormats, openWords: true, file: true },
  },
  layer: integer("N", "Layer of the checkpoint, if it has several", 0, 1_000_000),
  hidden: {
    ...orText(jobFlags.hidden, "FILE", "Hidden size, or a safetensors file with the hidden states, [T, H]"),
    file: true,
  },
  activation: choice("NAME", "Activation (default: the preset's)", activations),
  router: choice("KIND", "Kind of router (default: the preset's)", Object.keys(routerRules) as RouterKind[]),
  skew,
  ep: integer("N", "Time one rank's share when N ranks share the experts; all tokens reach it (default: 1)", 1, 65536),
};

/** The values of the layer's flags that change a preset. */
interface LayerValues {
  readonly activation?: Activation | undefined;
  readonly router?: RouterKind | undefined;
}

/** Returns what an activation or a router changes in a layer. Options that the new kind does not take are left out. */
export function layerChanges(
  layer: Pick<Job, "activation" | "router">,
  { activation, router }: LayerValues,
): Pick<JobChanges, "activation" | "activationAlpha" | "activationLimit" | "router"> {
  const isOther = activation !== undefined && activation !== layer.activation;
  const options = isOther ? activationRules[activation].options : {};
  return {
    activation,
    ...isOther && { activationAlpha: 1.702, activationLimit: Infinity, ...options },
    router: router === undefined || router === layer.router.kind ? undefined : routerOf(router, layer.router),
  };
}

function routerOf(kind: RouterKind, { groups, topGroups, scale, correctionBias }: RouterPreset): RouterPreset {
  const { before, groupScores } = routerRules[kind];
  return {
    kind,
    ...scale !== undefined && { scale },
    ...groupScores > 0 && groups !== undefined && { groups, ...topGroups !== undefined && { topGroups } },
    ...correctionBias && before !== "none" && before !== "softmax" && { correctionBias },
  };
}
