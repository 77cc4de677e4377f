// Where a Mixture-of-Experts layer is in a checkpoint, by the names of its tensors.
import { SafetensorsError } from "../../safetensors/error.ts";
import { quote } from "../../text.ts";

/** The names there are. */
export interface Names {
  /** What messages call the checkpoint. */
  readonly path: string;
  readonly names: Iterable<string>;
  has(name: string): boolean;
}

/** How the experts' weights are cut into tensors. */
export type Packing = "each" | "fused" | "granite";

/** A layer's tensors by what they are for. */
export interface LayerNames {
  /** The layer's number, where the names have one. */
  readonly layer: number | undefined;
  /** What all the names begin with: `model.layers.3.mlp.`. */
  readonly base: string;
  readonly packing: Packing;
  /** What the experts' names begin with: one prefix, or one for each expert of a number. */
  readonly experts: string;
  readonly router: string;
  readonly routerBias: string | undefined;
  readonly correctionBias: string | undefined;
  /** What the names of the expert that every token goes to begin with. */
  readonly sharedExpert: string | undefined;
  readonly sharedGate: string | undefined;
}

/** The experts' down projection, which every layer has, and what its name tells. */
const downProjections: readonly [Packing, RegExp][] = [
  ["each", /^((?:.*\.)?)experts\.\d+\.(?:down_proj|w2)\.weight$/],
  ["fused", /^((?:.*\.)?)experts\.down_proj(?:_blocks)?$/],
  ["granite", /^((?:.*\.)?block_sparse_moe\.)output_linear\.weight$/],
];

const layerNumber = /(?:^|\.)(?:layers|blocks?|h)\.(\d+)\./;

/**
 * Finds a layer.
 *
 * @param checkpoint The names.
 * @param layer Which one; undefined where there is only one.
 * @throws {SafetensorsError} If it is not there, or which one is left open.
 */
export function findLayer(checkpoint: Names, layer: number | undefined): LayerNames {
  const found = new Map<string, Packing>();
  for (const name of checkpoint.names) {
    for (const [packing, pattern] of downProjections) {
      const base = name.match(pattern)?.[1];
      if (base !== undefined) found.set(base, packing);
    }
  }
  const candidates = [...found].map(([base, packing]) => ({ base, packing, layer: numberOf(base) }));
  if (candidates.length === 0) {
    throw new SafetensorsError(
      `${checkpoint.path}: there is no layer with experts: no tensor is named like "experts.0.down_proj.weight", ` +
        `"experts.down_proj" or "block_sparse_moe.output_linear.weight"`,
    );
  }
  const chosen = layer === undefined ? candidates : candidates.filter((candidate) => candidate.layer === layer);
  if (chosen.length !== 1) {
    const problem = layer === undefined
      ? "--layer is needed"
      : chosen.length > 1
      ? `layer ${layer} is there more than once`
      : `there is no layer ${layer} with experts`;
    throw new SafetensorsError(`${checkpoint.path}: ${problem}; there are ${listed(candidates)}`);
  }
  return namesAt(checkpoint, chosen[0]!.base, chosen[0]!.packing, chosen[0]!.layer);
}

function namesAt(checkpoint: Names, base: string, packing: Packing, layer: number | undefined): LayerNames {
  const first = (...names: string[]) => names.find((name) => checkpoint.has(base + name));
  const at = (name: string | undefined) => name === undefined ? undefined : base + name;
  const router = first("gate.weight", "router.weight", "router.layer.weight");
  if (router === undefined) {
    throw new SafetensorsError(
      `${checkpoint.path}: there is no router beside ${quote(`${base}experts`)}: ` +
        `no tensor is named ${quote(`${base}gate.weight`)} or ${quote(`${base}router.weight`)}`,
    );
  }
  const bias = router.replace(/weight$/, "bias");
  // DeepSeek's own code, whose layers are "ffn", calls the correction bias just so.
  const biasCorrects = base.endsWith("ffn.");
  const inside = ["shared_experts.", "shared_expert."].map((prefix) => base + prefix);
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
    correctionBias: at(first("gate.e_score_correction_bias", "e_score_correction_bias", "router.correction_bias")) ??
      (biasCorrects ? at(first(bias)) : undefined),
    sharedExpert,
    sharedGate: at(first("shared_expert_gate.weight")),
  };
}

/** What the modules are called that are all a layer's of experts. */
const moduleName = /(?:^|\.)(?:mlp|moe|ffn|feed_forward|block_sparse_moe|mixer)\.$/;

/** What the names of a layer begin with where it shares its prefix with others. */
const partName = /^(?:router|gate|experts|shared_experts?|shared_expert_gate|e_score_correction_bias)(?:\.|$)/;

/** The names that belong to a layer. */
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

function listed(candidates: readonly { base: string; layer: number | undefined }[]): string {
  const most = 200;
  const numbers = candidates.map(({ layer, base }) => layer === undefined ? quote(base) : `${layer}`);
  const text = numbers.join(", ");
  return `layers ${text.length > most ? `${text.slice(0, most)}…` : text}`;
}
