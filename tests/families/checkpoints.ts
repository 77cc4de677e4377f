// Small checkpoints with the names and packings of the families' published files.
import {
  type Made,
  type Names,
  packBiases,
  packExperts,
  type Packing,
  packShared,
  type SharedPacking,
} from "./packings.ts";
import { computeLayer, type Definition, type Expert, type LayerWeights, type Matrix } from "./layer_model.ts";
import { type Encoded, type Encoding, floatsOf, floatTensor, type Random, randomOf } from "./encodings.ts";
import { writeRaw } from "./raw_file.ts";

/** A family's checkpoint. */
export interface Published {
  /** The row of the table. */
  readonly name: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly definition: Definition;
  /** What the names of the layer begin with; its number is 1. */
  readonly base: string;
  readonly packing: Packing;
  /** The names of the router, and of its biases. */
  readonly router: string;
  readonly routerBias?: string;
  readonly correctionBias?: string;
  /** Whether the correction bias is [1, E]. */
  readonly biasOfTwoDimensions?: boolean;
  /** What the shared expert's names begin with (absolute), how many experts' sizes it has, and its gate. */
  readonly shared?: SharedPacking;
  readonly gated?: boolean;
  /** The size of the routed experts' own space, which linear layers lead into and out of. */
  readonly latent?: number;
  /** Whether norms come before the router and the experts, and each expert has a scale. */
  readonly norms?: boolean;
  readonly biases?: boolean;
  /** What `--prefix` must say if another model of the checkpoint has a layer 1 too. */
  readonly prefix?: string;
  /** Tensors of other layers, which must not matter. */
  readonly others?: readonly string[];
}

/** The sizes of all checkpoints. */
export const sizes = { tokens: 6, hidden: 64, intermediate: 32, experts: 8 } as const;

/** The sizes of a checkpoint. */
export type Sizes = { readonly [Name in keyof typeof sizes]: number };

const matrix = ({ rows, columns, values }: Encoded): Matrix => ({ rows, columns, values });
const list = <Value>(count: number, make: (i: number) => Value) => Array.from({ length: count }, (_, i) => make(i));

/** The encodings of a checkpoint's weights. The router is dense, as are biases. */
export interface Encodings {
  readonly experts: Encoding;
  /** Defaults to that of the experts. */
  readonly shared?: Encoding;
  readonly router?: Encoding;
}

/** Makes a checkpoint's tensors, an input, and the right output. */
export function makeCheckpoint(
  published: Published,
  { experts: encoding, shared: sharedEncoding = encoding, router: routerEncoding = floatsOf("F32") }: Encodings,
  seed: number,
  { tokens, hidden: H, intermediate: I, experts: E }: Sizes = sizes,
): { readonly tensors: Names; readonly hidden: Matrix; readonly output: Float64Array; readonly layer: LayerWeights } {
  const { base, packing, gated = true, shared, biases, latent } = published;
  const random = randomOf(seed);
  const make = (encoding: Encoding, size: number = I, width: number = H): Made => ({
    ...gated && { gate: encoding(random, size, width) },
    up: encoding(random, size, width),
    down: encoding(random, width, size),
  });
  const made = list(E, () => make(encoding, I, latent));
  const projections = latent === undefined
    ? undefined
    : { input: floatsOf("BF16")(random, latent, H), output: floatsOf("BF16")(random, H, latent) };
  const router = routerEncoding(random, E, H);
  const vector = (size: number, spread = 1) => floatTensor("F32", list(size, () => spread * (random() - 0.5)), [size]);
  const expertOf = ({ gate, up, down }: Made): Expert => ({
    ...gate && { gate: matrix(gate) },
    up: matrix(up),
    down: matrix(down),
  });
  const sharedMade = shared && make(sharedEncoding, 2 * I);
  const sharedGate = shared?.gate === undefined ? undefined : floatsOf("F32")(random, 1, H);
  const ownBias = published.routerBias === undefined ? undefined : vector(E);
  const correction = published.correctionBias === undefined ? undefined : vector(E, 0.4);
  const around = (size: number) => floatTensor("BF16", list(size, () => 0.5 + random()), [size]);
  const norms = published.norms && { router: around(H), experts: around(H), expertScale: around(E) };
  const expertBiases = biases ? list(E, () => ({ gate: vector(I), up: vector(I), down: vector(H) })) : [];
  const layer: LayerWeights = {
    router: matrix(router),
    ...ownBias && { routerBias: ownBias.values },
    ...correction && { correctionBias: correction.values },
    experts: made.map((one, e) => ({
      ...expertOf(one),
      ...biases && {
        biases: {
          gate: expertBiases[e]!.gate.values,
          up: expertBiases[e]!.up.values,
          down: expertBiases[e]!.down.values,
        },
      },
    })),
    ...sharedMade && { shared: expertOf(sharedMade) },
    ...sharedGate && { sharedGate: matrix(sharedGate) },
    ...norms && {
      norms: { router: norms.router.values, experts: norms.experts.values, expertScale: norms.expertScale.values },
    },
    ...projections && { latent: { input: matrix(projections.input), output: matrix(projections.output) } },
  };
  const hidden: Matrix = {
    rows: tokens,
    columns: H,
    values: floatTensor("BF16", list(tokens * H, () => 4 * (random() - 0.5)), []).values,
  };
  const tensors: Names = {
    "lm_head.weight": floatTensor("F32", [0], [1, 1]).raw,
    ...packExperts(packing, base, made),
    ...Object.fromEntries(Object.entries(router.tensors).map(([end, raw]) => [base + published.router + end, raw])),
    ...ownBias && { [base + published.routerBias!]: ownBias.raw },
    ...correction && {
      [base + published.correctionBias!]: published.biasOfTwoDimensions
        ? { ...correction.raw, shape: [1, E] }
        : correction.raw,
    },
    ...sharedMade && packShared(shared, sharedMade),
    ...sharedGate && { [base + shared!.gate! + ".weight"]: sharedGate.tensors[".weight"]! },
    ...projections && {
      [`${base}fc1_latent_proj.weight`]: projections.input.tensors[".weight"]!,
      [`${base}fc2_latent_proj.weight`]: projections.output.tensors[".weight"]!,
    },
    ...norms && {
      [`${base}router.scale`]: norms.router.raw,
      [`${base}pre_feedforward_layernorm_2.weight`]: norms.experts.raw,
      [`${base}router.per_expert_scale`]: norms.expertScale.raw,
    },
    ...biases && packBiases(packing, base, expertBiases),
    ...Object.fromEntries((published.others ?? []).map((name) => [name, floatTensor("F32", [1, 2], [1, 2]).raw])),
  };
  return { tensors, hidden, layer, output: computeLayer(published.definition, layer, hidden) };
}

/** Writes a checkpoint to a directory. */
export async function writeCheckpoint(
  directory: string,
  { config }: Published,
  tensors: Names,
  quantization: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  await writeRaw(`${directory}/model.safetensors`, tensors);
  await Deno.writeTextFile(`${directory}/config.json`, JSON.stringify({ ...config, ...quantization }));
}

export type { Random };
