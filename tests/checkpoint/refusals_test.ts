// Checkpoints that CheckpointLayer.open() refuses, and what the message says.
import { assertRejects } from "@std/assert";
import { SafetensorsError, type Tensor, tensor } from "../../mod.ts";
import { CheckpointLayer } from "../../src/models/checkpoint/checkpoint_layer.ts";
import type { LayerOptions } from "../../src/models/checkpoint/settings.ts";
import { E, type Files, H, I, inDirectory, mixtral, numbered, renamed, without } from "./checkpoints.ts";

const base = "model.layers.0.block_sparse_moe.";
const withOther = (name: string, value: ReturnType<typeof numbered>) => ({ ...mixtral(0), [name]: value });
const inModule = (name: string) => renamed("block_sparse_moe", name);
const K2 = { topK: 2 } as const;

interface Case {
  readonly files: Files;
  readonly options?: LayerOptions;
  readonly error?: new (message: string) => Error;
  readonly message: string;
}

const refused: Readonly<Record<string, Case>> = {
  "no layer": { files: { tensors: { x: numbered([1]) } }, message: "found no layer with experts" },
  "two layers and no number": {
    files: { tensors: mixtral(0, 5) },
    options: K2,
    message: "--layer is needed; the layers with experts are 0, 5",
  },
  "a layer that does not exist": {
    files: { tensors: mixtral(0, 5) },
    options: { ...K2, layer: 3 },
    message: "layer 3 has no experts; the layers with experts are 0, 5",
  },
  "no router": { files: { tensors: without(`${base}gate.weight`) }, options: K2, message: `"${base}gate.weight"` },
  "a missing tensor": {
    files: { tensors: without(`${base}experts.1.w3.weight`) },
    options: K2,
    message: `tensor "${base}experts.1.w3.weight" is missing`,
  },
  "a missing gate": {
    files: { tensors: without(`${base}experts.0.w1.weight`) },
    options: K2,
    message: `tensor "${base}experts.0.w1.weight" is missing`,
  },
  "a shape that does not fit": {
    files: { tensors: withOther(`${base}experts.2.w2.weight`, numbered([I, H])) },
    options: K2,
    message: `tensor "${base}experts.2.w2.weight" must have shape [4, 2], got [2, 4]`,
  },
  "integers": {
    files: { tensors: withOther(`${base}experts.0.w2.weight`, tensor(new Int32Array(8), [H, I])) },
    options: K2,
    message: `tensor "${base}experts.0.w2.weight" must be of dtype F16, BF16, F32, got I32`,
  },
  "an expert that the router does not have": {
    files: { tensors: withOther(`${base}experts.3.w2.weight`, numbered([H, I])) },
    options: K2,
    message: `tensor "${base}experts.3.w2.weight" belongs to an expert that the router, with 3 rows, does not have`,
  },
  "an unknown tensor of the layer": {
    files: { tensors: withOther(`${base}experts.0.w2.lora`, numbered([1])) },
    options: K2,
    message: `tensor "${base}experts.0.w2.lora" belongs to this layer, but is not supported`,
  },
  "biases of gates without those of the down projection": {
    files: { tensors: withOther(`${base}experts.0.w1.bias`, numbered([I])) },
    options: K2,
    message: `tensor "${base}experts.0.w1.bias" belongs to this layer, but is not supported`,
  },
  "gates if experts have none": {
    files: { tensors: mixtral(0) },
    options: { ...K2, gated: false },
    message: `tensor "${base}experts.0.w1.weight" belongs to this layer, but is not supported`,
  },
  "an unknown part of a shared expert": {
    files: {
      tensors: {
        ...mixtral(0),
        [`${base}shared_expert.gate_proj.weight`]: numbered([I, H]),
        [`${base}shared_expert.up_proj.weight`]: numbered([I, H]),
        [`${base}shared_expert.down_proj.weight`]: numbered([H, I]),
        [`${base}shared_expert.norm.weight`]: numbered([H]),
      },
    },
    options: K2,
    message: `tensor "${base}shared_expert.norm.weight" belongs to this layer, but is not supported`,
  },
  "a shared expert without its down projection, inside the layer": {
    files: {
      tensors: {
        ...mixtral(0),
        [`${base}shared_expert.gate_proj.weight`]: numbered([I, H]),
        [`${base}shared_expert.up_proj.weight`]: numbered([I, H]),
      },
    },
    options: K2,
    message: `tensor "${base}shared_expert.down_proj.weight" is missing`,
  },
  "a shared expert without its down projection, beside the layer": {
    files: { tensors: withOther("model.layers.0.shared_mlp.input_linear.weight", numbered([2 * I, H])) },
    options: K2,
    message: 'tensor "model.layers.0.shared_mlp.output_linear.weight" is missing',
  },
  "a bias of gates and ups in one tensor without that of the down projection": {
    files: { tensors: { ...inMlp("gate"), "layers.0.mlp.experts.gate_up_proj_bias": numbered([E, 2 * I]) } },
    options: { ...K2, router: "softmax", activation: "swiglu-oai", gateUpLayout: "interleaved" },
    message:
      'tensor "layers.0.mlp.experts.down_proj_bias" is missing, but "layers.0.mlp.experts.gate_up_proj_bias" exists',
  },
  "a bias of the down projection without that of gates and ups in one tensor": {
    files: { tensors: { ...inMlp("gate"), "layers.0.mlp.experts.down_proj.bias": numbered([E, H]) } },
    options: { ...K2, router: "softmax", activation: "swiglu-oai", gateUpLayout: "interleaved" },
    message:
      'tensor "layers.0.mlp.experts.gate_up_proj.bias" is missing, but "layers.0.mlp.experts.down_proj.bias" exists',
  },
  "an unknown part of a layer with plain names": {
    files: {
      tensors: {
        "other.weight": numbered([1]),
        "router.weight": numbered([E, H]),
        "router.scale": numbered([E]),
        "experts.gate_up_proj": numbered([E, H, 2 * I]),
        "experts.down_proj": numbered([E, I, H]),
      },
    },
    options: { ...K2, router: "softmax", activation: "swiglu-oai" },
    message: 'tensor "router.scale" belongs to this layer, but is not supported',
  },
  "blocks of scales that are not a pair": {
    files: {
      tensors: mixtral(0),
      config: '{"model_type":"mixtral","quantization_config":{"weight_block_size":[128]}}',
    },
    options: K2,
    message: "weight_block_size must be two positive integers, got [128]",
  },
  "a limit for another activation": {
    files: { tensors: mixtral(0), config: '{"model_type":"mixtral","hidden_act":"gelu","swiglu_limit":10}' },
    options: K2,
    message: "swiglu_limit is for SiLU with a gate and SwiGLU, got gelu",
  },
  "no top-k": {
    files: { tensors: mixtral(0) },
    message: "The number of experts of each token, top-k, is needed (--top-k)",
  },
  "too large a top-k": {
    files: { tensors: mixtral(0) },
    options: { topK: 4 },
    error: RangeError,
    message: "topK must be an integer from 1",
  },
  "a layout that does not fit the tensors": {
    files: { tensors: mixtral(0) },
    options: { ...K2, weightLayout: "in-out" },
    error: RangeError,
    message: "must be out-in",
  },
  "a router that the names do not decide": {
    files: { tensors: inModule("mlp") },
    options: K2,
    message: "The router is needed (--router softmax, ",
  },
  "a router of an unknown family": {
    files: { tensors: mixtral(0), config: '{"model_type":"jetmoe","num_experts_per_tok":2}' },
    message: 'the router of "jetmoe" is unknown',
  },
  "an unknown method of choice": {
    files: {
      tensors: inModule("mlp"),
      config: '{"model_type":"deepseek_v2","num_experts_per_tok":2,"topk_method":"best_of_all","n_group":3}',
    },
    message: 'the topk_method "best_of_all" is not supported',
  },
  "an unknown scoring function": {
    files: {
      tensors: inModule("mlp"),
      config: '{"model_type":"deepseek_v3","num_experts_per_tok":2,"scoring_func":"tanh"}',
    },
    message: 'the scoring_func "tanh" is not supported',
  },
  "an unknown activation": {
    files: { tensors: mixtral(0), config: '{"model_type":"mixtral","num_experts_per_tok":2,"hidden_act":"xielu"}' },
    message: 'the hidden_act "xielu" is not supported',
  },
  "groups that the router of a flag cannot choose": {
    files: {
      tensors: renamed("block_sparse_moe", "mlp"),
      config: '{"model_type":"deepseek_v3","num_experts_per_tok":1,"n_group":3,"topk_group":1}',
    },
    options: { router: "sigmoid" },
    message: "The model chooses from 1 of 3 groups of experts, which the router kind sigmoid cannot do",
  },
  "a router that neither the names nor a config without a model decide": {
    files: { tensors: inModule("mlp"), config: '{"num_experts_per_tok":2}' },
    message: "config.json has no model_type",
  },
  "weights that fit both layouts": {
    files: {
      tensors: {
        "router.weight": numbered([E, H]),
        "experts.up_proj": numbered([E, H, H]),
        "experts.down_proj": numbered([E, H, H]),
      },
    },
    options: { ...K2, gated: false, activation: "silu", router: "softmax" },
    message: "--weight-layout",
  },
  "a config with other types": {
    files: { tensors: mixtral(0), config: '{"model_type":"mixtral","num_experts_per_tok":"2"}' },
    message: 'num_experts_per_tok must be a positive integer, got "2"',
  },
};

for (const [what, { files, options = {}, error = SafetensorsError, message }] of Object.entries(refused)) {
  Deno.test(`CheckpointLayer.open() refuses ${what}`, async () => {
    await inDirectory(files, async (directory) => {
      await assertRejects(() => CheckpointLayer.open(directory, options), error, message);
    });
  });
}

const plain = {
  "router.weight": numbered([E, H]),
  "experts.gate_up_proj": numbered([E, H, 2 * I]),
  "experts.down_proj": numbered([E, I, H]),
};

/** Makes a layer whose router has a name. */
function inMlp(router: string): Record<string, Tensor> {
  return {
    [`layers.0.mlp.${router}.weight`]: numbered([E, H]),
    "layers.0.mlp.experts.gate_up_proj": numbered([E, H, 2 * I]),
    "layers.0.mlp.experts.down_proj": numbered([E, I, H]),
  };
}

for (const [what, tensors] of Object.entries({ plain, gate: inMlp("gate"), router: inMlp("router") })) {
  Deno.test(`What ${what} names do not decide is needed, not guessed`, async () => {
    await inDirectory({ tensors }, async (directory) => {
      const open = (options: LayerOptions) => () => CheckpointLayer.open(directory, options);
      const refuses = (options: LayerOptions, message: string) =>
        assertRejects(open(options), SafetensorsError, message);
      await refuses(K2, "The router is needed (--router ");
      await refuses(K2, "The activation is needed (--activation)");
      await refuses({ ...K2, router: "softmax" }, "The activation is needed (--activation)");
      await refuses({ ...K2, activation: "silu" }, "The router is needed (--router ");
      await refuses({ ...K2, router: "softmax", activation: "silu" }, "order of gate and up columns is needed");
      const found = await open({ ...K2, router: "softmax", activation: "silu", gateUpLayout: "concatenated" })();
      found[Symbol.dispose]();
    });
  });
}
