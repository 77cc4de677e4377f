// Finds a Mixture-of-Experts layer in a checkpoint by the names of its tensors.
import { SafetensorsError } from "../../safetensors/error.ts";
import { escapePattern, quote } from "../../text.ts";
import {
  correctionBias,
  latentProjections,
  moduleName,
  normNames,
  otherModels,
  type Packing,
  packings,
  partName,
  refusedTensors,
  routers,
  sharedBeside,
  sharedInside,
  sharedPackings,
  tokenTable,
} from "../families/packings.ts";
import { hasWeight, weightSuffixes } from "../formats/mod.ts";
import { quantizationOf, unsupportedSuffixes } from "../formats/unsupported.ts";

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

/** A layer with experts. */
export interface Candidate {
  /** What all names begin with: `model.layers.3.mlp.`. */
  readonly base: string;
  /** The layer's number, if the names have one. */
  readonly layer: number | undefined;
  readonly packing: Packing;
}

/** The expert of every token: what its names begin with, and how its weights are divided. */
export interface SharedNames {
  readonly prefix: string;
  readonly packing: Packing;
}

/** The names of a layer's tensors. Those of linear layers do not end in `.weight`. */
export interface LayerNames extends Candidate {
  readonly router: string;
  readonly routerBias: string | undefined;
  readonly correctionBias: string | undefined;
  /** A table from token ids to experts. */
  readonly tokenTable: string | undefined;
  readonly shared: SharedNames | undefined;
  readonly sharedGate: string | undefined;
  /** The projections into and out of the space of the routed experts. */
  readonly latent: { readonly input: string; readonly output: string } | undefined;
  /** The weights of norms before the router and before the experts, and the scale of each expert. */
  readonly norms: { readonly [Name in keyof typeof normNames]: string } | undefined;
}

const layerNumber = /(?:^|\.)(?:layers|blocks?|h)\.(\d+)\./;

/** The end of the names of a packing's down projections, which every layer has. */
function downPattern({ down }: Packing): string {
  const suffixes = [...weightSuffixes, ...unsupportedSuffixes].map(escapePattern).join("|");
  return `${escapePattern(down).replace(escapePattern("{e}"), "\\d+")}(?:${suffixes})$`;
}

/** The down projections by packing. */
const downProjections = packings.map((packing) => ({
  module: packing.module,
  pattern: new RegExp(`^((?:.*\\.)?)${downPattern(packing)}`),
}));

/** The down projections of any packing. A checkpoint can have 100,000 names, most of which this one pattern excludes. */
const anyDownProjection = new RegExp(`(?:^|\\.)(?:${packings.map(downPattern).join("|")})`);

/** Returns the name of a linear layer of an expert. */
export function linearName(base: string, name: string, expert: number): string {
  return base + name.replace("{e}", `${expert}`);
}

/** Finds all layers with experts, those of other models too. */
export function findExperts(checkpoint: Names): Candidate[] {
  const bases = new Set<string>();
  for (const name of checkpoint.names) {
    if (!anyDownProjection.test(name)) continue;
    for (const { module, pattern } of downProjections) {
      const base = name.match(pattern)?.[1];
      if (base !== undefined && (module?.test(base) ?? true)) bases.add(base);
    }
  }
  return [...bases].map((base) => ({ base, layer: numberOf(base), packing: packingAt(checkpoint, base) }));
}

/**
 * Finds the layers of the language model, or those whose names have a prefix.
 *
 * @param modelLayers The model's number of layers. Layers after them count only if there are no others.
 * @throws {SafetensorsError} If none exists.
 */
export function findCandidates(checkpoint: Names, { prefix }: LayerChoice, modelLayers = Infinity): Candidate[] {
  const all = findExperts(checkpoint);
  const fitting = prefix === undefined
    ? all.filter(({ base }) => !otherModels.test(base))
    : all.filter(({ base }) => base.startsWith(prefix));
  if (fitting.length === 0) throw noCandidate(checkpoint, all, prefix);
  const own = fitting.filter(({ layer }) => (layer ?? 0) < modelLayers);
  return own.length > 0 ? own : fitting;
}

/**
 * Finds a layer.
 *
 * @param checkpoint The names.
 * @param choice Which layer. Without a prefix, only layers of the language model are candidates.
 * @param modelLayers The model's number of layers, if it is known. Layers after them draft tokens.
 * @returns The names of the layer's tensors.
 * @throws {SafetensorsError} If the layer does not exist, is not the only one, or cannot be expressed here.
 */
export function findLayer(checkpoint: Names, choice: LayerChoice, modelLayers = Infinity): LayerNames {
  const { layer } = choice;
  const own = findCandidates(checkpoint, choice, modelLayers);
  const every = layer === undefined ? own : findCandidates(checkpoint, choice);
  const chosen = preferred(layer === undefined ? own : every.filter((candidate) => candidate.layer === layer));
  const [found] = chosen;
  if (!found) {
    throw new SafetensorsError(
      `${checkpoint.path}: layer ${layer} has no experts; the layers with experts are ${listed(every)}`,
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
  return namesAt(checkpoint, found);
}

/** Prefers the one layer of `model.` to layers with the same number and other names. */
function preferred(candidates: readonly Candidate[]): readonly Candidate[] {
  const numbers = new Set(candidates.map(({ layer }) => layer));
  const ofModel = candidates.filter(({ base }) => base.startsWith("model."));
  return numbers.size === 1 && ofModel.length === 1 ? ofModel : candidates;
}

/** Finds how the experts' weights are divided: by the down projection, then by the gate or the up projection. */
function packingAt(checkpoint: Names, base: string): Packing {
  const exists = (name: string | undefined) => name !== undefined && hasWeight(checkpoint, linearName(base, name, 0));
  const fitting = packings.filter(({ module, down }) => exists(down) && (module?.test(base) ?? true));
  const at = (part: "gateUp" | "gate" | "ungated" | "up") => fitting.find((packing) => exists(packing[part]));
  return at("gateUp") ?? at("gate") ?? at("ungated") ?? at("up") ?? fitting[0] ?? packings[0]!;
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

/**
 * Names the tensors of a layer.
 *
 * @throws {SafetensorsError} If the layer has no router or cannot be expressed here.
 */
export function namesAt(checkpoint: Names, candidate: Candidate): LayerNames {
  const { base, packing } = candidate;
  const down = linearName(base, packing.down, 0);
  const quantization = quantizationOf(checkpoint, down);
  if (quantization !== undefined) {
    throw new SafetensorsError(
      `${checkpoint.path}: the experts of ${quote(base)} are quantized (${quantization}), which is not supported`,
    );
  }
  for (const [name, reason] of Object.entries(refusedTensors)) {
    if (!checkpoint.has(base + name)) continue;
    throw new SafetensorsError(`${checkpoint.path}: ${reason} (${quote(base + name)}), which is not supported`);
  }
  const router = routers.find((name) => hasWeight(checkpoint, base + name));
  if (router === undefined) {
    throw new SafetensorsError(
      `${checkpoint.path}: found no router beside ${quote(`${base}experts`)}: ` +
        `no tensor is named ${quote(`${base}gate.weight`)} or ${quote(`${base}router.weight`)}`,
    );
  }
  const bias = checkpoint.has(`${base}${router}.bias`) ? `${base}${router}.bias` : undefined;
  const correction = [...checkpoint.names].find((name) =>
    name.startsWith(base) && correctionBias.test(name.slice(base.length))
  );
  const biasCorrects = base.endsWith("ffn.") && router === "gate"; // DeepSeek-V4's own code names the correction bias so
  return {
    ...candidate,
    router: base + router,
    routerBias: biasCorrects ? undefined : bias,
    correctionBias: correction ?? (biasCorrects ? bias : undefined),
    tokenTable: checkpoint.has(base + tokenTable) ? base + tokenTable : undefined,
    shared: sharedAt(checkpoint, base),
    sharedGate: checkpoint.has(`${base}shared_expert_gate.weight`) || hasWeight(checkpoint, `${base}shared_expert_gate`)
      ? `${base}shared_expert_gate`
      : undefined,
    latent: hasWeight(checkpoint, base + latentProjections.input)
      ? { input: base + latentProjections.input, output: base + latentProjections.output }
      : undefined,
    norms: Object.values(normNames).every((name) => checkpoint.has(base + name))
      ? {
        router: base + normNames.router,
        experts: base + normNames.experts,
        expertScale: base + normNames.expertScale,
      }
      : undefined,
  };
}

function sharedAt(checkpoint: Names, base: string): SharedNames | undefined {
  const exists = (name: string | undefined) => name !== undefined && hasWeight(checkpoint, name);
  const parent = base.replace(/[^.]+\.$/, "");
  const prefixes = [...sharedInside.map((name) => base + name), ...sharedBeside.map((name) => parent + name)];
  for (const prefix of prefixes) {
    const has = (name: string | undefined) => name !== undefined && exists(prefix + name);
    const [first] = sharedPackings.filter(({ down }) => has(down));
    const isNamed = ({ gateUp, gate }: Packing) => has(gateUp) || has(gate);
    // Without its down projection, the expert is still one of the layer, so that what is missing can be named.
    const packing = sharedPackings.find((packing) => isNamed(packing) && (!first || has(packing.down))) ?? first;
    if (packing) return { prefix, packing };
  }
  return undefined;
}

/** Lists the names that belong to a layer. */
export function namesOfLayer(checkpoint: Names, { base, shared }: LayerNames): string[] {
  const isWhole = moduleName.test(base);
  return [...checkpoint.names].filter((name) =>
    (name.startsWith(base) && (isWhole || partName.test(name.slice(base.length)))) ||
    (shared !== undefined && name.startsWith(shared.prefix))
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
