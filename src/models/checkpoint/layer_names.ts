// Finds a Mixture-of-Experts layer in a checkpoint by the names of its tensors.
import { SafetensorsError } from "../../safetensors/error.ts";
import { quote } from "../../text.ts";
import { quantizationOf, quantizedDownProjection } from "./quantizations.ts";

/** The names of a checkpoint's tensors. */
export interface Names {
  /** The path of the checkpoint, for messages. */
  readonly path: string;
  readonly names: Iterable<string>;
  has(name: string): boolean;
}

/** Which layer to find. */
export interface LayerChoice {
  /** The number of the layer. It may be absent if the checkpoint has only one. */
  readonly layer?: number | undefined;
  /** What the names of the layer begin with, such as `talker.`. */
  readonly prefix?: string | undefined;
}

/** How the experts' weights are divided into tensors: one per expert, one for all experts, or Granite's. */
export type Packing = "each" | "fused" | "granite";

/** The names of a layer's tensors. */
export interface LayerNames {
  /** The layer's number, if the names have one. */
  readonly layer: number | undefined;
  /** What all names begin with: `model.layers.3.mlp.`. */
  readonly base: string;
  readonly packing: Packing;
  /** What the experts' names begin with. If there is one tensor per expert, the expert's number comes next. */
  readonly experts: string;
  readonly router: string;
  readonly routerBias: string | undefined;
  readonly correctionBias: string | undefined;
  /** What the names of the shared expert begin with. */
  readonly sharedExpert: string | undefined;
  readonly sharedGate: string | undefined;
}

/** The experts' down projection, which every layer has, by packing. */
const downProjections: readonly (readonly [Packing, RegExp])[] = [
  ["each", /^((?:.*\.)?)experts\.\d+\.(?:down_proj|w2)\.weight$/],
  ["fused", /^((?:.*\.)?)experts\.down_proj(?:_blocks)?$/],
  ["granite", /^((?:.*\.)?block_sparse_moe\.)output_linear\.weight$/],
];

const layerNumber = /(?:^|\.)(?:layers|blocks?|h)\.(\d+)\./;

/** Layers of other models in a checkpoint: those that draft tokens, and those that read or write images or speech. */
const otherModels =
  /(?:^|\.)(?:mtp|nextn|eagle|medusa|draft|specul|visual|vision|image|audio|talker|code_predictor|token2wav)\w*\./;

/** The names of routers. */
const routers = ["gate.weight", "router.weight", "router.layer.weight", "gate.wg.weight", "router.gate.weight"];

/** The name of a correction bias: DeepSeek-V3, MiniMax-M2; Ling 2.0, LFM2; ERNIE 4.5. */
const correctionBias =
  /^(?:(?:gate|router|moe_statics)\.)?(?:e_score_correction_bias|expert_bias|correction_bias|router_bias)$/;

/** A table from token ids to experts, which some layers of DeepSeek-V4 have instead of a choice by scores. */
const tokenTable = "gate.tid2eid";

/** A layer with experts. */
interface Candidate {
  readonly base: string;
  readonly packing: Packing;
  readonly layer: number | undefined;
  /** The format of weights that cannot be read. */
  readonly quantization: string | undefined;
}

/**
 * Finds a layer.
 *
 * @param checkpoint The names.
 * @param choice Which layer. Without a prefix, only layers of the language model are candidates.
 * @param modelLayers The model's number of layers, if it is known. Layers after them draft tokens.
 * @returns The names of the layer's tensors.
 * @throws {SafetensorsError} If the layer does not exist, is not the only one, or has a quantization that cannot be read.
 */
export function findLayer(checkpoint: Names, choice: LayerChoice, modelLayers = Infinity): LayerNames {
  const { layer, prefix } = choice;
  const all = findCandidates(checkpoint);
  const fitting = prefix === undefined
    ? all.filter(({ base }) => !otherModels.test(base))
    : all.filter(({ base }) => base.startsWith(prefix));
  if (fitting.length === 0) throw noCandidate(checkpoint, all, prefix);
  const own = fitting.filter((candidate) => (candidate.layer ?? 0) < modelLayers);
  const chosen = preferred(
    layer === undefined ? own.length > 0 ? own : fitting : fitting.filter((candidate) => candidate.layer === layer),
  );
  const [found] = chosen;
  if (!found) {
    throw new SafetensorsError(
      `${checkpoint.path}: layer ${layer} has no experts; the layers with experts are ${listed(fitting)}`,
    );
  }
  if (chosen.length > 1) {
    const problem = layer === undefined
      ? `--layer is needed; the layers with experts are ${listed(chosen)}`
      : `layer ${layer} exists more than once: --prefix is needed, ${
        chosen.map(({ base }) => quote(base)).join(" or ")
      }`;
    throw new SafetensorsError(`${checkpoint.path}: ${problem}`);
  }
  if (found.quantization !== undefined) {
    throw new SafetensorsError(
      `${checkpoint.path}: the experts of ${quote(found.base)} are quantized (${found.quantization}), ` +
        `which is not supported`,
    );
  }
  return namesAt(checkpoint, found);
}

/** Prefers the one layer of `model.` to layers with the same number and other names. */
function preferred(candidates: readonly Candidate[]): readonly Candidate[] {
  const numbers = new Set(candidates.map(({ layer }) => layer));
  const ofModel = candidates.filter(({ base }) => base.startsWith("model."));
  return numbers.size === 1 && ofModel.length === 1 ? ofModel : candidates;
}

function findCandidates(checkpoint: Names): Candidate[] {
  const found = new Map<string, Candidate>();
  for (const name of checkpoint.names) {
    for (const [packing, pattern] of downProjections) {
      const base = name.match(pattern)?.[1];
      if (base !== undefined && !found.has(base)) {
        found.set(base, { base, packing, layer: numberOf(base), quantization: undefined });
      }
    }
    const [, base, linear] = name.match(quantizedDownProjection) ?? [];
    if (base === undefined || linear === undefined) continue;
    const quantization = linear.startsWith("switch_mlp") ? "MLX" : quantizationOf(checkpoint, base + linear);
    found.set(base, { base, packing: "each", layer: numberOf(base), quantization });
  }
  return [...found.values()];
}

function noCandidate(checkpoint: Names, all: readonly Candidate[], prefix: string | undefined): SafetensorsError {
  const problem = all.length === 0
    ? `found no layer with experts: no tensor has a name like "experts.0.down_proj.weight", "experts.down_proj" or ` +
      `"block_sparse_moe.output_linear.weight"`
    : prefix === undefined
    ? `found experts only outside the language model; choose with --prefix ${listedBases(all)}`
    : `no layer with experts begins with ${quote(prefix)}; the layers with experts are ${listedBases(all)}`;
  return new SafetensorsError(`${checkpoint.path}: ${problem}`);
}

function namesAt(checkpoint: Names, { base, packing, layer }: Candidate): LayerNames {
  const first = (...names: string[]) => names.find((name) => checkpoint.has(base + name));
  const at = (name: string | undefined) => name === undefined ? undefined : base + name;
  if (checkpoint.has(base + tokenTable)) {
    throw new SafetensorsError(
      `${checkpoint.path}: the layer chooses experts by token id (${quote(base + tokenTable)}), which is not supported`,
    );
  }
  const router = first(...routers);
  if (router === undefined) {
    throw new SafetensorsError(
      `${checkpoint.path}: found no router beside ${quote(`${base}experts`)}: ` +
        `no tensor is named ${quote(`${base}gate.weight`)} or ${quote(`${base}router.weight`)}`,
    );
  }
  const bias = router.replace(/weight$/, "bias");
  const correction = [...checkpoint.names].find((name) =>
    name.startsWith(base) && correctionBias.test(name.slice(base.length))
  );
  const biasCorrects = base.endsWith("ffn."); // DeepSeek-V4's own code names the correction bias so
  const inside = ["shared_experts.", "shared_expert.", "shared_mlp."].map((prefix) => base + prefix);
  const beside = packing === "granite" ? [base.replace("block_sparse_moe.", "shared_mlp.")] : [];
  const downNames = ["down_proj.weight", "w2.weight", "down_proj", "output_linear.weight"];
  const sharedExpert = [...inside, ...beside].find((prefix) => downNames.some((name) => checkpoint.has(prefix + name)));
  return {
    layer,
    base,
    packing,
    experts: packing === "granite" ? base : `${base}experts.`,
    router: base + router,
    routerBias: biasCorrects ? undefined : at(first(bias)),
    correctionBias: correction ?? (biasCorrects ? at(first(bias)) : undefined),
    sharedExpert,
    sharedGate: at(first("shared_expert_gate.weight")),
  };
}

/** Modules that contain nothing but the layer. */
const moduleName = /(?:^|\.)(?:mlp|moe|ffn|feed_forward|block_sparse_moe|mixer)\.$/;

/** The parts of a layer that shares its prefix with other tensors. */
const partName =
  /^(?:router|gate|experts|shared_experts?|shared_expert_gate|shared_mlp|moe_statics|e_score_correction_bias|expert_bias)(?:\.|$)/;

/** Lists the names that belong to a layer. */
export function namesOfLayer(checkpoint: Names, { base, sharedExpert }: LayerNames): string[] {
  const isWhole = moduleName.test(base);
  return [...checkpoint.names].filter((name) =>
    (name.startsWith(base) && (isWhole || partName.test(name.slice(base.length)))) ||
    (sharedExpert !== undefined && name.startsWith(sharedExpert))
  );
}

function numberOf(base: string): number | undefined {
  const digits = base.match(layerNumber)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

function listed(candidates: readonly Candidate[]): string {
  return cut(candidates.map(({ layer, base }) => layer === undefined ? quote(base) : `${layer}`));
}

function listedBases(candidates: readonly Candidate[]): string {
  return cut(candidates.map(({ base }) => quote(base)));
}

function cut(words: readonly string[]): string {
  const maximum = 200;
  const text = words.join(", ");
  return text.length > maximum ? `${text.slice(0, maximum)}…` : text;
}
