// Lists what a checkpoint has: its layers with experts, how each would be computed, and what prevents running it.
import { type Decision, decisionsOf } from "../families/decisions.ts";
import { ModelConfig } from "../families/model_config.ts";
import { checkFamily } from "../families/settings_of_family.ts";
import { SafetensorsError } from "../../safetensors/error.ts";
import { Checkpoint } from "./checkpoint.ts";
import { resolveLayer } from "./checkpoint_layer.ts";
import { type Candidate, findCandidates, findExperts, type LayerChoice, namesAt } from "./layer_names.ts";

/** A layer with experts that could be run, or the reason why it cannot. */
export interface InspectedLayer {
  /** The layer's number, or null if the names have none. */
  readonly layer: number | null;
  /** What the names of its tensors begin with. */
  readonly names: string;
  readonly experts?: number;
  readonly topK?: number;
  readonly hidden?: number;
  /** The size of the space that the routed experts compute in, if it is not the hidden size. */
  readonly latent?: number;
  readonly intermediate?: number;
  /** The intermediate size of the shared expert; 0 without one. */
  readonly sharedIntermediate?: number;
  readonly router?: string;
  /** Whether a table of token ids chooses the experts. Then `yamoe run` needs a tensor `input_ids` in its input. */
  readonly byToken?: boolean;
  readonly activation?: string;
  /** The formats of the experts' weights. */
  readonly formats?: readonly string[];
  /** The bytes of the layer's tensors in the files. */
  readonly storedBytes?: number;
  /** What decides how the layer computes, and where each value comes from. */
  readonly decisions?: readonly Decision[];
  readonly notes?: readonly string[];
  /** Why the layer cannot be run. */
  readonly problem?: string;
}

/** What a checkpoint has. */
export interface Inspection {
  readonly path: string;
  /** The `model_type` of the language model, or null without a config.json. */
  readonly family: string | null;
  /** The code that the facts on the family come from, as permalinks. Empty if the family is unknown. */
  readonly sources: readonly string[];
  readonly tensors: number;
  readonly layers: readonly InspectedLayer[];
  /** Layers with experts of other models: those that draft tokens, or read images or speech. */
  readonly others: readonly string[];
  /** Why no layer can be run. */
  readonly problem: string | null;
}

/**
 * Inspects a checkpoint. Reads headers, and no weights.
 *
 * @param path A safetensors file, an index of several, or a directory with either.
 * @param choice Which layers to list: one of a number, or those whose names have a prefix. By default, all of the
 * language model's.
 * @returns The layers with experts, or why the files cannot be read.
 * @throws {Deno.errors.NotFound} If the path does not exist.
 */
export async function inspectCheckpoint(path: string, choice: LayerChoice = {}): Promise<Inspection> {
  try {
    using checkpoint = await Checkpoint.open(path);
    return await inspectOpen(checkpoint, choice);
  } catch (error) {
    const nothing = { family: null, sources: [], tensors: 0, layers: [], others: [] };
    return { path, ...nothing, problem: messageOf(error) };
  }
}

async function inspectOpen(checkpoint: Checkpoint, choice: LayerChoice): Promise<Inspection> {
  const json = await checkpoint.config();
  const configOf = (component: string) => json && new ModelConfig(json.value, json.path, component);
  const model = configOf(choice.prefix?.split(".")[0] ?? "");
  const about = {
    path: checkpoint.path,
    family: model ? model.modelType : null,
    sources: model?.family?.sources ?? [],
    tensors: [...checkpoint.names].length,
  };
  const experts = findExperts(checkpoint);
  let found: readonly Candidate[];
  try {
    if (model) checkFamily(model);
    const own = findCandidates(checkpoint, choice, model?.layers);
    found = own.filter(({ layer }) => choice.layer === undefined || layer === choice.layer);
  } catch (error) {
    return { ...about, layers: [], others: experts.map(({ base }) => base), problem: messageOf(error) };
  }
  const bases = new Set(found.map(({ base }) => base));
  const others = experts.filter(({ base }) => !bases.has(base)).map(({ base }) => base);
  const layers: InspectedLayer[] = [];
  for (const candidate of found.toSorted((a, b) => (a.layer ?? 0) - (b.layer ?? 0))) {
    layers.push(await inspectLayer(checkpoint, candidate, configOf(candidate.base.split(".")[0] ?? "")));
  }
  return { ...about, layers, others, problem: null };
}

async function inspectLayer(
  checkpoint: Checkpoint,
  candidate: Candidate,
  config: ModelConfig | undefined,
): Promise<InspectedLayer> {
  const about = { layer: candidate.layer ?? null, names: candidate.base };
  try {
    const layer = await resolveLayer(checkpoint, namesAt(checkpoint, candidate), config, {});
    const { hidden, routed, shared } = layer.shape;
    const { options: { correctionBias: _correctionBias, ...options } } = layer.plan.router;
    const { before, renormalize } = layer.shape.router;
    const router = before === "none" ? options : { ...options, renormalize };
    const { activation, activationAlpha, activationLimit, gated } = layer.plan;
    return {
      ...about,
      experts: routed.experts,
      topK: routed.topK,
      hidden,
      intermediate: routed.intermediate,
      ...routed.hidden !== hidden && { latent: routed.hidden },
      sharedIntermediate: shared?.intermediate ?? 0,
      router: layer.routerKind,
      ...layer.tokenTable !== undefined && { byToken: true },
      activation: routed.activation,
      formats: layer.formats,
      storedBytes: layer.storedBytes,
      decisions: decisionsOf(config, router, {
        ...{ activation, activationAlpha, activationLimit, gated },
        ...{ logitCap: layer.plan.router.logitCap, normEpsilon: layer.norms?.epsilon },
        expertCapacity: layer.expertCapacity,
      }),
      notes: layer.notes,
    };
  } catch (error) {
    return { ...about, problem: messageOf(error) };
  }
}

function messageOf(error: unknown): string {
  if (error instanceof SafetensorsError || error instanceof RangeError) return error.message;
  throw error;
}
