import { CheckpointLayer } from "../models/checkpoint/checkpoint_layer.ts";
import type { LayerOptions } from "../models/checkpoint/settings.ts";
import type { Preset } from "../models/preset.ts";
import { routerRules } from "../routing/router.ts";
import { SafetensorsError } from "../safetensors/error.ts";

/** A layer of a checkpoint, described as a preset is. */
export interface CheckpointPreset extends Preset {
  /** The layer's number; null if the names have none. */
  readonly layer: number | null;
}

/** The layer of a checkpoint, and what its files do not say. */
export type CheckpointChoice = Pick<LayerOptions, "layer" | "topK" | "router" | "activation">;

/**
 * Describes a layer of a checkpoint. Reads no element.
 *
 * @param path A safetensors file, an index of several, or a directory with either.
 * @param choice The number of the layer, if the checkpoint has several, and what replaces the model's way of computing.
 * @throws {SafetensorsError} If the layer is not found or not supported.
 */
export async function checkpointPreset(path: string, choice: CheckpointChoice): Promise<CheckpointPreset> {
  using found = await CheckpointLayer.open(path, choice);
  const { routed, router, shared } = found.shape;
  if (routed.hidden !== found.shape.hidden) {
    throw new SafetensorsError(`${path}: the experts of layer ${found.number} are latent, which bench cannot time`);
  }
  const { before, groupScores } = routerRules[found.routerKind];
  const { groups, topGroups, renormalize, scale } = router;
  const { activation, activationAlpha, activationLimit, gated, gateUpLayout, weightLayout, batchInvariant } = routed;
  const number = found.number === undefined ? "" : `, layer ${found.number}`;
  return {
    model: `${found.family}${number}`,
    source: path,
    layer: found.number ?? null,
    dtype: found.dtype,
    ...{ activation, activationAlpha, activationLimit, gated, gateUpLayout, weightLayout, batchInvariant },
    ...{ hidden: routed.hidden, intermediate: routed.intermediate, experts: routed.experts, topK: routed.topK },
    biases: found.hasBiases ? "random" : "none",
    router: {
      ...{ kind: found.routerKind, scale },
      ...groupScores > 0 && { groups, topGroups },
      ...before !== "none" && { renormalize },
    },
    sharedIntermediate: shared?.intermediate ?? 0,
    ...{ batch: 1, seq: 4096, dropless: true },
  };
}
