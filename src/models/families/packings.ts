// How checkpoints divide the experts' weights into tensors, and what they call the other parts of a layer.

/** One way to divide the experts' weights. In names, `{e}` is the expert's number. */
export interface Packing {
  /** What the module's name must end with, so that dense layers do not match. */
  readonly module?: RegExp;
  /** Gate and up in one linear layer, or each in its own. */
  readonly gateUp?: string;
  readonly gate?: string;
  readonly up?: string;
  /** The up projection of experts without a gate, if it has a name of its own. */
  readonly ungated?: string;
  readonly down: string;
  /** The order of the dimensions, if the shapes may leave it open. */
  readonly layout?: "in-out" | "out-in";
  /** The order of the dimensions of the down projection, if it is another. */
  readonly downLayout?: "in-out";
  /** Whether the experts' matrices are stacked along the rows, [E · rows, columns]. */
  readonly flat?: boolean;
}

/** The ways in use. */
export const packings: readonly Packing[] = [
  { gate: "experts.{e}.gate_proj", up: "experts.{e}.up_proj", down: "experts.{e}.down_proj" },
  { gate: "experts.{e}.w1", up: "experts.{e}.w3", down: "experts.{e}.w2" },
  { gateUp: "experts.gate_up_proj", ungated: "experts.up_proj", down: "experts.down_proj" }, // gpt-oss, Llama 4, Qwen3-VL, Qwen3.5
  { gate: "experts.gate_proj", up: "experts.up_proj", down: "experts.down_proj", layout: "out-in" },
  { gate: "switch_mlp.gate_proj", up: "switch_mlp.up_proj", down: "switch_mlp.down_proj", layout: "out-in" }, // MLX
  { gate: "switch_mlp.gate_proj", up: "switch_mlp.fc1", down: "switch_mlp.fc2", layout: "out-in" }, // MLX, without a gate
  { module: /(^|\.)moe\.$/, gate: "gate_proj", up: "up_proj", down: "down_proj", layout: "out-in" }, // Step 3.5
  { module: /(^|\.)block_sparse_moe\.$/, gateUp: "input_linear", down: "output_linear", layout: "out-in" }, // Granite
  {
    module: /(^|\.)moe_block\.$/, // Grok-1
    gate: "experts.{e}.linear",
    up: "experts.{e}.linear_v",
    down: "experts.{e}.linear_1",
  },
  { up: "experts.expert_{e}.wi", down: "experts.expert_{e}.wo" }, // Switch Transformers
  { up: "experts.expert_{e}.fc1", down: "experts.expert_{e}.fc2" }, // NLLB-MoE
  { gateUp: "experts.fc1", down: "experts.fc2", layout: "in-out" }, // Aria
  {
    gate: "experts.mlp.w1", // DBRX
    up: "experts.mlp.v1",
    down: "experts.mlp.w2",
    flat: true,
    layout: "out-in",
    downLayout: "in-out",
  },
];

/** The names of the linear layers of a shared expert. */
export const sharedPackings: readonly Packing[] = [
  { gate: "gate_proj", up: "up_proj", down: "down_proj" },
  { gate: "w1", up: "w3", down: "w2" },
  { gateUp: "gate_up_proj", ungated: "up_proj", down: "down_proj" },
  { gateUp: "input_linear", down: "output_linear", layout: "out-in" },
];

/** The names of routers, without `.weight`. */
export const routers = [
  "gate",
  "router",
  "router.layer",
  "gate.wg",
  "router.gate",
  "gate.gate_proj",
  "gate.gate",
  "router.proj",
  "router.classifier",
];

/** The name of a correction bias: DeepSeek-V3, MiniMax-M2, Laguna; Ling 2.0, LFM2; ERNIE 4.5; Step 3.5. */
export const correctionBias =
  /^(?:(?:gate|router|experts|moe_statics)\.)?(?:e_score_correction_bias|expert_bias|correction_bias|router_bias)$/;

/** The names of shared experts: in the layer's module, and beside it. */
export const sharedInside = ["shared_experts.", "shared_expert.", "shared_mlp.", "share_expert."];
export const sharedBeside = ["shared_mlp.", "share_expert."];

/** The projections into and out of the space of the routed experts (Nemotron-3). */
export const latentProjections = { input: "fc1_latent_proj", output: "fc2_latent_proj" } as const;

/** The weights of norms before the router and before the experts, and the scale of each expert (Gemma 4). */
export const normNames = {
  router: "router.scale",
  experts: "pre_feedforward_layernorm_2.weight",
  expertScale: "router.per_expert_scale",
} as const;

/** A table from token ids to experts, which decides instead of the router's scores (DeepSeek-V4). */
export const tokenTable = "gate.tid2eid";

/** Tensors of layers that cannot be expressed, and the reason. */
export const refusedTensors: Readonly<Record<string, string>> = {
  "gate.weight_1": "the layer has one set of experts for text and one for images",
  // ERNIE 4.5 in Baidu's own format, where each matrix is [in, out].
  "experts.0.up_gate_proj.weight":
    "the layer is in the format of PaddlePaddle, not in that of the checkpoints for PyTorch " +
    "(for ERNIE 4.5, those whose name ends in -PT)",
};

/** Layers of other models in a checkpoint: those that draft tokens, and those that read or write images or speech. */
export const otherModels =
  /(?:^|\.)(?:mtp|nextn|eagle|medusa|draft|specul|visual|vision|image|audio|talker|code_predictor|token2wav)\w*\./;

/** Modules that contain nothing but the layer. */
export const moduleName = /(?:^|\.)(?:mlp|moe|moe_block|ffn|feed_forward|block_sparse_moe|mixer)\.$/;

/** The parts of a layer that shares its prefix with other tensors. */
export const partName =
  /^(?:router|gate|experts|switch_mlp|shared_experts?|shared_expert_gate|shared_mlp|moe_statics|e_score_correction_bias|expert_bias)(?:\.|$)/;
