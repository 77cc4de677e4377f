// How the families' files divide the weights of experts into tensors.
import type { Encoded, floatTensor, Raw } from "./encodings.ts";

/** How a family's files divide the experts' weights. */
export type Packing =
  | "gate_proj"
  | "w1"
  | "linear"
  | "wi"
  | "fc"
  | "fused-out-in"
  | "fused-in-out"
  | "gpt-oss"
  | "gpt-oss-mxfp4"
  | "granite"
  | "aria"
  | "dbrx"
  | "step"
  | "split"
  | "mlx"
  | "mlx-fc";

/** Tensors by name. */
export type Names = Record<string, Raw>;

type FloatTensor = ReturnType<typeof floatTensor>;

function concat(parts: readonly Raw[], shape: readonly number[]): Raw {
  const bytes = new Uint8Array(parts.reduce((size, part) => size + part.bytes.length, 0));
  parts.reduce((at, part) => (bytes.set(part.bytes, at), at + part.bytes.length), 0);
  return { dtype: parts[0]!.dtype, shape, bytes };
}

/** Reorders the elements of a tensor. */
function reorder({ dtype, bytes }: Raw, shape: readonly number[], from: (at: number) => number): Raw {
  const size = bytes.length / shape.reduce((a, b) => a * b, 1), target = new Uint8Array(bytes.length);
  for (let at = 0; at < bytes.length / size; at++) {
    target.set(bytes.subarray(from(at) * size, (from(at) + 1) * size), at * size);
  }
  return { dtype, shape, bytes: target };
}

const transposed = (raw: Raw): Raw => {
  const [rows, columns] = raw.shape as [number, number];
  return reorder(raw, [columns, rows], (at) => at % rows * columns + Math.floor(at / rows));
};

/** The weights of an expert. */
export interface Made {
  readonly gate?: Encoded;
  readonly up: Encoded;
  readonly down: Encoded;
}

/** Puts the rows of weights below each other. */
function joined(parts: readonly Encoded[]): Encoded {
  const [{ rows, columns, values }] = parts as [Encoded];
  const join = (end: string) => {
    const raws = parts.map(({ tensors }) => tensors[end]!);
    const { shape: [bands = 0, ...rest] } = raws[0]!;
    return concat(raws, [parts.length * bands, ...rest]);
  };
  const tensors = Object.fromEntries(Object.keys(parts[0]!.tensors).map((end) => [end, join(end)]));
  return { rows: rows * parts.length, columns, values, tensors };
}

/** Interleaves the rows of the two halves of a tensor. */
function interleaved(raw: Raw): Raw {
  const [rows, ...rest] = raw.shape as [number, ...number[]], size = rest.reduce((a, b) => a * b, 1);
  return reorder(raw, raw.shape, (at) => {
    const row = Math.floor(at / size);
    return (row % 2 * (rows / 2) + (row >> 1)) * size + at % size;
  });
}

/** Names the tensors of a weight. A parameter's name does not end in ".weight". */
const linear = (name: string, { tensors }: Encoded, isParameter = false): Names =>
  Object.fromEntries(
    Object.entries(tensors).map(([end, raw]) => [name + (isParameter ? end.replace(/^\.weight/, "") : end), raw]),
  );

/** Applies a function to each tensor of a weight. */
const mapTensors = (encoded: Encoded, change: (raw: Raw) => Raw): Encoded => ({
  ...encoded,
  tensors: Object.fromEntries(Object.entries(encoded.tensors).map(([end, raw]) => [end, change(raw)])),
});

/** Stacks the weights of all experts. */
function stacked(weights: readonly Encoded[]): Encoded {
  const [first] = weights as [Encoded];
  const stack = (end: string) => {
    const raws = weights.map(({ tensors }) => tensors[end]!);
    return concat(raws, [raws.length, ...raws[0]!.shape]);
  };
  return { ...first, tensors: Object.fromEntries(Object.keys(first.tensors).map((end) => [end, stack(end)])) };
}

/** The names of gate, up and down projection. */
const projections = {
  "gate_proj": ["gate_proj", "up_proj", "down_proj"],
  "w1": ["w1", "w3", "w2"],
  "linear": ["linear", "linear_v", "linear_1"],
  "wi": ["", "wi", "wo"],
  "fc": ["", "fc1", "fc2"],
} as const;

/** What the name of an expert's module begins with. */
const moduleOf = (packing: Packing) => packing === "wi" || packing === "fc" ? "experts.expert_" : "experts.";

/** The modules of packings that stack each projection. */
const stacks = { mlx: "switch_mlp.", "mlx-fc": "switch_mlp.", split: "experts.", step: "" } as const;

/** How gate and up are put into one tensor of all experts. */
interface Fusion {
  readonly gateUp: string;
  readonly down: string;
  readonly isParameter?: boolean;
  readonly isTransposed?: boolean;
  readonly isInterleaved?: boolean;
}

/** Packings with gate and up in one tensor. */
const fusions = {
  "fused-out-in": { gateUp: "experts.gate_up_proj", down: "experts.down_proj", isParameter: true },
  "fused-in-out": { gateUp: "experts.gate_up_proj", down: "experts.down_proj", isParameter: true, isTransposed: true },
  "gpt-oss": {
    ...{ gateUp: "experts.gate_up_proj", down: "experts.down_proj" },
    ...{ isParameter: true, isTransposed: true, isInterleaved: true },
  },
  "gpt-oss-mxfp4": {
    ...{ gateUp: "experts.gate_up_proj", down: "experts.down_proj" },
    ...{ isParameter: true, isInterleaved: true },
  },
  "granite": { gateUp: "input_linear", down: "output_linear" },
  "aria": { gateUp: "experts.fc1", down: "experts.fc2", isTransposed: true },
} as const satisfies Record<string, Fusion>;

const isKey = <Table extends object>(table: Table, key: PropertyKey): key is keyof Table => Object.hasOwn(table, key);

/** The tensors of the experts. */
export function packExperts(packing: Packing, base: string, experts: readonly Made[]): Names {
  const isGated = experts[0]!.gate !== undefined;
  const parts = ({ gate, up, down }: Made) => [...gate ? [gate] : [], up, down];
  if (isKey(projections, packing)) {
    const names = projections[packing].slice(isGated ? 0 : 1), module = moduleOf(packing);
    const each = experts.flatMap((expert, e) =>
      parts(expert).map((weight, i) => linear(`${base}${module}${e}.${names[i]}`, weight))
    );
    return Object.assign({}, ...each);
  }
  if (isKey(stacks, packing)) {
    const names = packing === "mlx-fc" ? ["fc1", "fc2"] : projections.gate_proj;
    const all = names.map((name, i) =>
      linear(base + stacks[packing] + name, stacked(experts.map((expert) => parts(expert)[i]!)))
    );
    return Object.assign({}, ...all);
  }
  if (packing === "dbrx") {
    const flat = (name: string, weights: readonly Encoded[]) =>
      linear(`${base}experts.mlp.${name}`, joined(weights), true);
    return {
      ...flat("w1", experts.map(({ gate }) => gate!)),
      ...flat("v1", experts.map(({ up }) => up)),
      ...flat("w2", experts.map(({ down }) => mapTensors(down, transposed))),
    };
  }
  const { gateUp, down, isParameter = false, isTransposed = false, isInterleaved = false }: Fusion = fusions[packing];
  const placed = (weight: Encoded) => isTransposed ? mapTensors(weight, transposed) : weight;
  const both = (expert: Made) => {
    const weight = joined(parts(expert).slice(0, -1));
    return placed(isInterleaved ? mapTensors(weight, interleaved) : weight);
  };
  return {
    ...linear(base + (isGated ? gateUp : gateUp.replace("gate_up", "up")), stacked(experts.map(both)), isParameter),
    ...linear(base + down, stacked(experts.map((expert) => placed(expert.down))), isParameter),
  };
}

/** The biases of an expert. */
export interface MadeBiases {
  readonly gate: FloatTensor;
  readonly up: FloatTensor;
  readonly down: FloatTensor;
}

/** The tensors of the experts' biases. */
export function packBiases(packing: Packing, base: string, experts: readonly MadeBiases[]): Names {
  const parts = ["gate", "up", "down"] as const;
  if (packing === "fc") {
    return Object.fromEntries(experts.flatMap(({ up, down }, e) => [
      [`${base}${moduleOf(packing)}${e}.fc1.bias`, up.raw],
      [`${base}${moduleOf(packing)}${e}.fc2.bias`, down.raw],
    ]));
  }
  if (packing === "gate_proj") {
    return Object.fromEntries(
      experts.flatMap((expert, e) => parts.map((part) => [`${base}experts.${e}.${part}_proj.bias`, expert[part].raw])),
    );
  }
  const stack = (rows: readonly Raw[]) => concat(rows, [rows.length, ...rows[0]!.shape]);
  if (packing === "split") {
    return Object.fromEntries(
      parts.map((part) => [`${base}experts.${part}_proj.bias`, stack(experts.map((expert) => expert[part].raw))]),
    );
  }
  return {
    [`${base}experts.gate_up_proj_bias`]: stack(experts.map(({ gate, up }) => {
      const size = gate.values.length;
      return interleaved(concat([gate.raw, up.raw], [2 * size]));
    })),
    [`${base}experts.down_proj_bias`]: stack(experts.map(({ down }) => down.raw)),
  };
}

/** What the names of a shared expert begin with (absolute), how they divide its weights, and the name of its gate. */
export interface SharedPacking {
  readonly prefix: string;
  readonly packing: "gate_proj" | "w1" | "granite";
  readonly gate?: string;
}

/** The tensors of a shared expert. */
export function packShared({ prefix, packing }: SharedPacking, { gate, up, down }: Made): Names {
  if (packing === "granite") {
    return { ...linear(`${prefix}input_linear`, joined([gate!, up])), ...linear(`${prefix}output_linear`, down) };
  }
  const [g, u, d] = projections[packing];
  return { ...gate && linear(prefix + g, gate), ...linear(prefix + u, up), ...linear(prefix + d, down) };
}
