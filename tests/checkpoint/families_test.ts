// Layers of families as their modeling code defines them, in float64, against `yamoe run`'s path.
// Source: huggingface/transformers, src/transformers/models/*/modeling_*.py; the names are those of the checkpoints.
import { assertEquals, assertLess } from "@std/assert";
import { moe, type Tensor, tensor } from "../../mod.ts";
import { CheckpointLayer } from "../../src/models/checkpoint/checkpoint_layer.ts";
import { relativeError } from "../fixtures.ts";
import { inDirectory } from "./checkpoints.ts";

const [T, E, H, I, S, K] = [6, 8, 12, 10, 6, 3];

type Vector = readonly number[];
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const sum = (values: Vector) => values.reduce((total, value) => total + value, 0);
const softmax = (logits: Vector) => {
  const shares = logits.map((x) => Math.exp(x - Math.max(...logits)));
  return shares.map((share) => share / sum(shares));
};

/** Draws the tensors of a layer. */
class Maker {
  readonly tensors: Record<string, Tensor> = {};
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** Draws a tensor, stores it under a name, and returns its rows. */
  rows(name: string, rows: number, columns: number, shape: readonly number[] = [rows, columns]): Vector[] {
    const data = Float32Array.from({ length: rows * columns }, () => this.#next());
    this.tensors[name] = tensor(data, shape);
    return Array.from({ length: rows }, (_, r) => [...data.subarray(r * columns, (r + 1) * columns)]);
  }

  #next(): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return (this.#state / 2 ** 32 - 0.5) * 1.5;
  }
}

const product = (rows: readonly Vector[], x: Vector) => rows.map((row) => sum(row.map((w, i) => w * x[i]!)));

type Gated = (gate: number, up: number) => number;
const silu: Gated = (gate, up) => gate * sigmoid(gate) * up;

interface Routed {
  readonly experts: readonly number[];
  readonly weights: Vector;
}
type Route = (logits: Vector, bias: Vector) => Routed;

const topK = (values: Vector) => [...values.keys()].sort((a, b) => values[b]! - values[a]!).slice(0, K);
const pick = (values: Vector, experts: readonly number[]) => experts.map((e) => values[e]!);
const shares = (values: Vector) => values.map((value) => value / sum(values));

/** A layer of a family. */
interface Layer {
  readonly config: object;
  /** What the names begin with. */
  readonly base: string;
  readonly route: Route;
  readonly act?: Gated;
  /** The names of gate, up and down projection. Without a gate, the first is absent. */
  readonly names?: readonly [gate: string | undefined, up: string, down: string];
  /** Whether each projection of all experts is one tensor, [E, out, in] or [E, in, out]. */
  readonly fused?: "out-in" | "in-out";
  readonly router?: string;
  /** The name of the correction bias, and its shape if it is not [E]. */
  readonly bias?: readonly [name: string, shape?: readonly number[]];
  readonly shared?: string;
  readonly sharedGate?: string;
}

const linear = ["gate_proj", "up_proj", "down_proj"] as const;
const numbered = ["w1", "w3", "w2"] as const;
const softmaxRoute = (renormalize: boolean): Route => (logits) => {
  const scores = softmax(logits), experts = topK(scores), weights = pick(scores, experts);
  return { experts, weights: renormalize ? shares(weights) : weights };
};
const sigmoidRoute = (scale = 1, renormalize = true): Route => (logits, bias) => {
  const scores = logits.map(sigmoid);
  const experts = topK(scores.map((score, e) => score + bias[e]!)), weights = pick(scores, experts);
  return { experts, weights: (renormalize ? shares(weights) : weights).map((weight) => weight * scale) };
};
/** DeepSeek-V3: the groups with the largest sums of two scores, then the largest scores in them. */
const groupedRoute = (groups: number, topGroups: number, scale: number): Route => (logits, bias) => {
  const scores = logits.map(sigmoid), keys = scores.map((score, e) => score + bias[e]!);
  const size = E / groups;
  const sums = Array.from({ length: groups }, (_, g) => {
    const [first = 0, second = 0] = keys.slice(g * size, (g + 1) * size).sort((a, b) => b - a);
    return first + second;
  });
  const kept = [...sums.keys()].sort((a, b) => sums[b]! - sums[a]!).slice(0, topGroups);
  const experts = topK(keys.map((key, e) => kept.includes(Math.floor(e / size)) ? key : -Infinity));
  return { experts, weights: shares(pick(scores, experts)).map((weight) => weight * scale) };
};
const ernieRoute: Route = (logits, bias) => {
  const scores = softmax(logits), experts = topK(scores.map((score, e) => score + bias[e]!));
  return { experts, weights: shares(pick(scores, experts)) };
};
const K3 = { num_experts_per_tok: K };
const qwenShared = { shared: "shared_expert.", sharedGate: "shared_expert_gate.weight" };
const oai = (alpha: number, limit: number): Gated => (gate, up) => {
  const g = Math.min(gate, limit);
  return g * sigmoid(alpha * g) * (Math.max(-limit, Math.min(up, limit)) + 1);
};

const layers: Readonly<Record<string, Layer>> = {
  "Qwen2-MoE": {
    ...{ config: { model_type: "qwen2_moe", ...K3 }, base: "model.layers.0.mlp.", route: softmaxRoute(false) },
    ...qwenShared,
  },
  "Qwen3-Next": {
    ...{ config: { model_type: "qwen3_next", ...K3 }, base: "model.layers.0.mlp.", route: softmaxRoute(true) },
    ...qwenShared,
  },
  "Qwen3-VL": {
    config: { model_type: "qwen3_vl_moe", text_config: { model_type: "qwen3_vl_moe_text", ...K3 } },
    ...{ base: "model.language_model.layers.0.mlp.", route: softmaxRoute(true), fused: "in-out" },
  },
  "Qwen3.5": {
    config: { model_type: "qwen3_5_moe", text_config: { model_type: "qwen3_5_moe_text", ...K3 } },
    ...{ base: "model.language_model.layers.0.mlp.", route: softmaxRoute(true), fused: "out-in" },
    ...qwenShared,
  },
  "Qwen3-Omni's thinker": {
    config: {
      model_type: "qwen3_omni_moe",
      thinker_config: {
        model_type: "qwen3_omni_moe_thinker",
        text_config: { model_type: "qwen3_omni_moe_text", ...K3 },
      },
    },
    ...{ base: "thinker.model.layers.0.mlp.", route: softmaxRoute(true) },
  },
  "InternVL with Qwen3-MoE": {
    config: { model_type: "internvl_chat", llm_config: { model_type: "qwen3_moe", norm_topk_prob: true, ...K3 } },
    ...{ base: "language_model.model.layers.0.mlp.", route: softmaxRoute(true) },
  },
  "DeepSeek-V2": {
    config: {
      model_type: "deepseek_v2",
      topk_method: "greedy",
      n_group: 1,
      topk_group: 1,
      routed_scaling_factor: 16,
      ...K3,
    },
    base: "model.layers.0.mlp.",
    route: (logits) => {
      const { experts, weights } = softmaxRoute(false)(logits, []);
      return { experts, weights: weights.map((weight) => 16 * weight) };
    },
    shared: "shared_experts.",
  },
  "DeepSeek-VL2": {
    config: {
      model_type: "deepseek_vl_v2",
      language_config: {
        ...{ model_type: "deepseek_v2", topk_method: "noaux_tc", scoring_func: "sigmoid", norm_topk_prob: true },
        ...{ n_group: 1, topk_group: 1, routed_scaling_factor: 2, ...K3 },
      },
    },
    ...{ base: "language.model.layers.0.mlp.", route: sigmoidRoute(2), bias: ["gate.e_score_correction_bias"] },
    shared: "shared_experts.",
  },
  "DeepSeek-V3": {
    config: { model_type: "deepseek_v3", n_group: 4, topk_group: 2, ...K3 },
    ...{ base: "model.layers.0.mlp.", route: groupedRoute(4, 2, 2.5), bias: ["gate.e_score_correction_bias"] },
    shared: "shared_experts.",
  },
  "Kimi-VL": {
    config: {
      model_type: "kimi_vl",
      text_config: { model_type: "deepseek_v3", n_group: 1, topk_group: 1, routed_scaling_factor: 2.446, ...K3 },
    },
    ...{ base: "language_model.model.layers.0.mlp.", route: sigmoidRoute(2.446) },
    ...{ bias: ["gate.e_score_correction_bias"], shared: "shared_experts." },
  },
  "GLM-4.7-Flash": {
    config: { model_type: "glm4_moe_lite", topk_method: "noaux_tc", ...K3 },
    ...{ base: "model.layers.0.mlp.", route: sigmoidRoute(1.8), bias: ["gate.e_score_correction_bias"] },
    shared: "shared_experts.",
  },
  "dots.llm1": {
    config: { model_type: "dots1", scoring_func: "noaux_tc", norm_topk_prob: true, routed_scaling_factor: 2.5, ...K3 },
    ...{ base: "model.layers.0.mlp.", route: sigmoidRoute(2.5), bias: ["gate.e_score_correction_bias"] },
    shared: "shared_experts.",
  },
  "Ling": { config: { model_type: "bailing_moe", ...K3 }, base: "model.layers.0.mlp.", route: softmaxRoute(true) },
  "Ling 2.0": {
    config: {
      ...{ model_type: "bailing_moe", score_function: "sigmoid", n_group: 4, topk_group: 2 },
      ...{ norm_topk_prob: true, routed_scaling_factor: 2.5, ...K3 },
    },
    ...{ base: "model.layers.0.mlp.", route: groupedRoute(4, 2, 2.5), bias: ["gate.expert_bias"] },
    shared: "shared_experts.",
  },
  "LFM2": {
    ...{ config: { model_type: "lfm2_moe", ...K3 }, base: "model.layers.0.feed_forward.", names: numbered },
    ...{ route: sigmoidRoute(), bias: ["expert_bias"] },
  },
  "ERNIE 4.5": {
    ...{ config: { model_type: "ernie4_5_moe", moe_k: K }, base: "model.layers.0.mlp.", route: ernieRoute },
    ...{ bias: ["moe_statics.e_score_correction_bias", [1, E]], shared: "shared_experts." },
  },
  "MiniMax-M2": {
    config: { model_type: "minimax_m2", scoring_func: "sigmoid", use_routing_bias: true, ...K3 },
    ...{ base: "model.layers.0.block_sparse_moe.", names: numbered },
    ...{ route: sigmoidRoute(), bias: ["e_score_correction_bias"] },
  },
  "MiniMax-M3": {
    config: {
      model_type: "minimax_m3_vl",
      text_config: {
        ...{ model_type: "minimax_m3_vl_text", hidden_act: "swigluoai", swiglu_alpha: 1.5, swiglu_limit: 0.4 },
        ...{ scoring_func: "sigmoid", routed_scaling_factor: 2, ...K3 },
      },
    },
    ...{ base: "language_model.model.layers.0.block_sparse_moe.", names: numbered, act: oai(1.5, 0.4) },
    ...{ route: sigmoidRoute(2), bias: ["e_score_correction_bias"] },
  },
  "Nemotron-H": {
    config: {
      ...{ model_type: "nemotron_h", mlp_hidden_act: "relu2", n_group: 1, topk_group: 1, norm_topk_prob: true },
      ...{ routed_scaling_factor: 2.5, ...K3 },
    },
    ...{ base: "backbone.layers.0.mixer.", names: [undefined, "up_proj", "down_proj"] },
    ...{ act: (_, up) => Math.max(up, 0) ** 2, route: sigmoidRoute(2.5), bias: ["gate.e_score_correction_bias"] },
    shared: "shared_experts.",
  },
  "Trinity (AFMoE)": {
    config: { model_type: "afmoe", score_func: "sigmoid", route_norm: true, route_scale: 2.8, ...K3 },
    ...{ base: "model.layers.0.mlp.", route: sigmoidRoute(2.8), router: "router.gate.weight", bias: ["expert_bias"] },
    shared: "shared_experts.",
  },
  "Jamba": {
    ...{ config: { model_type: "jamba", ...K3 }, base: "model.layers.0.feed_forward." },
    ...{ route: softmaxRoute(false), router: "router.weight" },
  },
  "Hunyuan": {
    ...{ config: { model_type: "hunyuan_v1_moe", moe_topk: K }, base: "model.layers.0.mlp." },
    ...{ route: softmaxRoute(true), router: "gate.wg.weight", shared: "shared_mlp." },
  },
};

/** Draws an expert, and returns the function that it computes. */
function expert(maker: Maker, prefix: string, width: number, { names = linear, act = silu }: Layer) {
  const [gateName, upName, downName] = names;
  const gate = gateName === undefined ? undefined : maker.rows(`${prefix}${gateName}.weight`, width, H);
  const up = maker.rows(`${prefix}${upName}.weight`, width, H);
  const down = maker.rows(`${prefix}${downName}.weight`, H, width);
  return (x: Vector) => {
    const gates = gate && product(gate, x);
    return product(down, product(up, x).map((value, i) => act(gates?.[i] ?? 0, value)));
  };
}

/** Draws experts that share a tensor for each projection. */
function fusedExperts(maker: Maker, prefix: string, { fused, act = silu }: Layer) {
  const outIn = fused === "out-in";
  const shape = (rows: number, columns: number) => outIn ? [E, rows, columns] : [E, columns, rows];
  const gateUp = maker.rows(`${prefix}gate_up_proj`, E, 2 * I * H, shape(2 * I, H));
  const down = maker.rows(`${prefix}down_proj`, E, H * I, shape(H, I));
  const apply = (weights: Vector, x: Vector, rows: number) =>
    Array.from(
      { length: rows },
      (_, r) => sum(x.map((value, c) => value * weights[outIn ? r * x.length + c : c * rows + r]!)),
    );
  return Array.from({ length: E }, (_, e) => (x: Vector) => {
    const both = apply(gateUp[e]!, x, 2 * I);
    return apply(down[e]!, both.slice(0, I).map((gate, i) => act(gate, both[I + i]!)), H);
  });
}

for (const [seed, [name, layer]] of Object.entries(layers).entries()) {
  Deno.test(`${name}: config.json alone gives what the modeling code computes`, async () => {
    const { config, base, route, bias, shared, sharedGate, router = "gate.weight" } = layer;
    const maker = new Maker(seed + 1);
    const routerRows = maker.rows(base + router, E, H);
    const [biasRow = Array(E).fill(0)] = bias ? maker.rows(base + bias[0], 1, E, bias[1] ?? [E]) : [];
    const experts = layer.fused
      ? fusedExperts(maker, `${base}experts.`, layer)
      : Array.from({ length: E }, (_, e) => expert(maker, `${base}experts.${e}.`, I, layer));
    const sharedExpert = shared === undefined ? undefined : expert(maker, base + shared, S, layer);
    const gateRow = sharedGate === undefined ? undefined : maker.rows(base + sharedGate, 1, H)[0];
    const { x: hidden, ...tensors } = (maker.rows("x", T, H), maker.tensors);
    const inputs = Array.from({ length: T }, (_, t) => [...hidden!.data.subarray(t * H, (t + 1) * H)]);

    const expected = inputs.flatMap((x) => {
      const { experts: chosen, weights } = route(product(routerRows, x), biasRow);
      const rows = chosen.map((e) => experts[e]!(x));
      const common = sharedExpert?.(x);
      const gate = gateRow ? sigmoid(sum(gateRow.map((w, i) => w * x[i]!))) : 1;
      return x.map((_, h) => sum(rows.map((row, k) => weights[k]! * row[h]!)) + (common ? gate * common[h]! : 0));
    });
    await inDirectory({ tensors, config: JSON.stringify(config) }, async (directory) => {
      using found = await CheckpointLayer.open(directory);
      assertEquals(found.notes, []);
      const output = await moe(hidden!, await found.read());
      assertLess(relativeError(output.data, expected), 5e-6);
    });
  });
}
