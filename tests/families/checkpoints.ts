// Small checkpoints with the names and packings of the families' published files.
import { computeLayer, type Definition, type Expert, type LayerWeights, type Matrix } from "./layer_model.ts";
import {
  type Encoded,
  type Encoding,
  floatsOf,
  floatTensor,
  type Random,
  randomOf,
  type Raw,
  writeRaw,
} from "./encodings.ts";

/** How a family's files divide the experts' weights. */
export type Packing =
  | "gate_proj"
  | "w1"
  | "fused-out-in"
  | "fused-in-out"
  | "gpt-oss"
  | "granite"
  | "aria"
  | "dbrx"
  | "step"
  | "split"
  | "mlx";

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
  readonly shared?: {
    readonly prefix: string;
    readonly packing: "gate_proj" | "w1" | "granite";
    readonly gate?: string;
  };
  readonly gated?: boolean;
  /** The size of the routed experts' own space, which linear layers lead into and out of. */
  readonly latent?: number;
  readonly biases?: boolean;
  /** What `--prefix` must say if another model of the checkpoint has a layer 1 too. */
  readonly prefix?: string;
  /** Tensors of other layers, which must not matter. */
  readonly others?: readonly string[];
}

/** The sizes of all checkpoints. */
export const sizes = { tokens: 6, hidden: 64, intermediate: 32, experts: 8 } as const;

type Names = Record<string, Raw>;
type FloatTensor = ReturnType<typeof floatTensor>;

const matrix = ({ rows, columns, values }: Encoded): Matrix => ({ rows, columns, values });
const list = <Value>(count: number, make: (i: number) => Value) => Array.from({ length: count }, (_, i) => make(i));

function concat(parts: readonly Raw[], shape: readonly number[]): Raw {
  const bytes = new Uint8Array(parts.reduce((size, part) => size + part.bytes.length, 0));
  parts.reduce((at, part) => (bytes.set(part.bytes, at), at + part.bytes.length), 0);
  return { dtype: parts[0]!.dtype, shape, bytes };
}

/** Reorders the elements of a dense tensor. */
function reorder({ dtype, bytes }: Raw, shape: readonly number[], from: (at: number) => number): Raw {
  const size = dtype === "F32" ? 4 : 2, target = new Uint8Array(bytes.length);
  for (let at = 0; at < bytes.length / size; at++) {
    target.set(bytes.subarray(from(at) * size, (from(at) + 1) * size), at * size);
  }
  return { dtype, shape, bytes: target };
}

const transposed = (raw: Raw): Raw => {
  const [rows, columns] = raw.shape as [number, number];
  return reorder(raw, [columns, rows], (at) => at % rows * columns + Math.floor(at / rows));
};

interface Made {
  readonly gate?: Encoded;
  readonly up: Encoded;
  readonly down: Encoded;
}

/** The tensors of the experts. */
function packExperts(packing: Packing, base: string, experts: readonly Made[]): Names {
  const E = experts.length, { rows: I, columns: H } = experts[0]!.up;
  const weight = (encoded: Encoded) => encoded.tensors[".weight"]!;
  const gateUp = ({ gate, up }: Made) => concat([...gate ? [weight(gate)] : [], weight(up)], [gate ? 2 * I : I, H]);
  const stacked = (parts: readonly Raw[]) => concat(parts, [E, ...parts[0]!.shape]);
  const linear = (name: string, { tensors }: Encoded) =>
    Object.fromEntries(Object.entries(tensors).map(([end, raw]) => [name + end, raw]));
  const stackLinear = (name: string, parts: readonly Encoded[]) =>
    Object.fromEntries(
      Object.keys(parts[0]!.tensors).map((end) => [name + end, stacked(parts.map((part) => part.tensors[end]!))]),
    );
  switch (packing) {
    case "gate_proj":
    case "w1": {
      const [g, u, d] = packing === "w1" ? ["w1", "w3", "w2"] : ["gate_proj", "up_proj", "down_proj"];
      return Object.assign(
        {},
        ...experts.flatMap(({ gate, up, down }, e) => [
          ...gate ? [linear(`${base}experts.${e}.${g}`, gate)] : [],
          linear(`${base}experts.${e}.${u}`, up),
          linear(`${base}experts.${e}.${d}`, down),
        ]),
      );
    }
    case "mlx":
      return {
        ...stackLinear(`${base}switch_mlp.gate_proj`, experts.map(({ gate }) => gate!)),
        ...stackLinear(`${base}switch_mlp.up_proj`, experts.map(({ up }) => up)),
        ...stackLinear(`${base}switch_mlp.down_proj`, experts.map(({ down }) => down)),
      };
    case "split":
      return {
        ...stackLinear(`${base}experts.gate_proj`, experts.map(({ gate }) => gate!)),
        ...stackLinear(`${base}experts.up_proj`, experts.map(({ up }) => up)),
        ...stackLinear(`${base}experts.down_proj`, experts.map(({ down }) => down)),
      };
    case "step":
      return {
        ...stackLinear(`${base}gate_proj`, experts.map(({ gate }) => gate!)),
        ...stackLinear(`${base}up_proj`, experts.map(({ up }) => up)),
        ...stackLinear(`${base}down_proj`, experts.map(({ down }) => down)),
      };
    case "fused-out-in":
      return {
        [`${base}experts.${experts[0]!.gate ? "gate_up_proj" : "up_proj"}`]: stacked(experts.map(gateUp)),
        [`${base}experts.down_proj`]: stacked(experts.map(({ down }) => weight(down))),
      };
    case "fused-in-out":
      return {
        [`${base}experts.gate_up_proj`]: stacked(experts.map((expert) => transposed(gateUp(expert)))),
        [`${base}experts.down_proj`]: stacked(experts.map(({ down }) => transposed(weight(down)))),
      };
    case "gpt-oss": {
      const interleave = (raw: Raw) =>
        reorder(raw, raw.shape, (at) => {
          const row = Math.floor(at / H);
          return (row % 2 * I + (row >> 1)) * H + at % H;
        });
      return {
        [`${base}experts.gate_up_proj`]: stacked(experts.map((expert) => transposed(interleave(gateUp(expert))))),
        [`${base}experts.down_proj`]: stacked(experts.map(({ down }) => transposed(weight(down)))),
      };
    }
    case "granite":
      return {
        [`${base}input_linear.weight`]: stacked(experts.map(gateUp)),
        [`${base}output_linear.weight`]: stacked(experts.map(({ down }) => weight(down))),
      };
    case "aria":
      return {
        [`${base}experts.fc1.weight`]: stacked(experts.map((expert) => transposed(gateUp(expert)))),
        [`${base}experts.fc2.weight`]: stacked(experts.map(({ down }) => transposed(weight(down)))),
      };
    case "dbrx": {
      const flat = (parts: readonly Raw[]) => concat(parts, [E * I, H]);
      return {
        [`${base}experts.mlp.w1`]: flat(experts.map(({ gate }) => weight(gate!))),
        [`${base}experts.mlp.v1`]: flat(experts.map(({ up }) => weight(up))),
        [`${base}experts.mlp.w2`]: flat(experts.map(({ down }) => transposed(weight(down)))),
      };
    }
  }
}

interface MadeBiases {
  readonly gate: FloatTensor;
  readonly up: FloatTensor;
  readonly down: FloatTensor;
}

/** The tensors of the experts' biases. */
function packBiases(packing: Packing, base: string, experts: readonly MadeBiases[]): Names {
  const parts = ["gate", "up", "down"] as const;
  if (packing === "gate_proj") {
    return Object.fromEntries(
      experts.flatMap((expert, e) => parts.map((part) => [`${base}experts.${e}.${part}_proj.bias`, expert[part].raw])),
    );
  }
  const stacked = (rows: readonly FloatTensor[]) =>
    concat(rows.map(({ raw }) => raw), [rows.length, rows[0]!.values.length]);
  if (packing === "split") {
    return Object.fromEntries(
      parts.map((part) => [`${base}experts.${part}_proj.bias`, stacked(experts.map((expert) => expert[part]))]),
    );
  }
  const interleaved = ({ gate, up }: MadeBiases) =>
    list(2 * gate.values.length, (i) => (i % 2 === 0 ? gate : up).values[i >> 1]!);
  return {
    [`${base}experts.gate_up_proj_bias`]: stacked(experts.map((expert) => {
      const both = interleaved(expert);
      return floatTensor("F32", both, [both.length]);
    })),
    [`${base}experts.down_proj_bias`]: stacked(experts.map(({ down }) => down)),
  };
}

function packShared({ prefix, packing }: NonNullable<Published["shared"]>, { gate, up, down }: Made): Names {
  const linear = (name: string, { tensors }: Encoded) =>
    Object.fromEntries(Object.entries(tensors).map(([end, raw]) => [prefix + name + end, raw]));
  if (packing === "granite") {
    const weight = concat([gate!.tensors[".weight"]!, up.tensors[".weight"]!], [2 * up.rows, up.columns]);
    return { [`${prefix}input_linear.weight`]: weight, ...linear("output_linear", down) };
  }
  const [g, u, d] = packing === "w1" ? ["w1", "w3", "w2"] : ["gate_proj", "up_proj", "down_proj"];
  return { ...gate && linear(g!, gate), ...linear(u!, up), ...linear(d!, down) };
}

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
): { readonly tensors: Names; readonly hidden: Matrix; readonly output: Float64Array; readonly layer: LayerWeights } {
  const { tokens, hidden: H, intermediate: I, experts: E } = sizes;
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
