import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { Safetensors, SafetensorsError, type Tensor, tensor, writeSafetensors } from "../../mod.ts";
import { CheckpointLayer } from "../../src/models/checkpoint/checkpoint_layer.ts";
import type { LayerOptions } from "../../src/models/checkpoint/settings.ts";
import { member } from "../safetensors/files.ts";

const [E, H, I] = [3, 4, 2];

/** Zeros but for the last number, which says which tensor it is. */
function numbered(shape: number[], mark = 0): Tensor {
  const data = new Float32Array(shape.reduce((a, b) => a * b));
  data[data.length - 1] = mark;
  return tensor(data, shape);
}

/** Mixtral's layers of the numbers given. */
function mixtral(...layers: number[]): Record<string, Tensor> {
  const tensors: Record<string, Tensor> = { "lm_head.weight": numbered([2, 2]) };
  for (const layer of layers) {
    const base = `model.layers.${layer}.block_sparse_moe.`;
    tensors[`${base}gate.weight`] = numbered([E, H]);
    for (let e = 0; e < E; e++) {
      tensors[`${base}experts.${e}.w1.weight`] = numbered([I, H], 100 * layer + 10 * e + 1);
      tensors[`${base}experts.${e}.w2.weight`] = numbered([H, I], 100 * layer + 10 * e + 2);
      tensors[`${base}experts.${e}.w3.weight`] = numbered([I, H], 100 * layer + 10 * e + 3);
    }
  }
  return tensors;
}

interface Files {
  readonly tensors?: Record<string, Tensor>;
  readonly config?: string;
  /** Other files, by name. */
  readonly other?: Readonly<Record<string, string>>;
}

/** A directory with a checkpoint, for as long as `use` takes. */
async function inDirectory(
  { tensors, config, other = {} }: Files,
  use: (directory: string) => Promise<void>,
): Promise<void> {
  const directory = await Deno.makeTempDir();
  try {
    if (tensors) await writeSafetensors(`${directory}/model.safetensors`, tensors);
    if (config) await Deno.writeTextFile(`${directory}/config.json`, config);
    for (const [name, text] of Object.entries(other)) await Deno.writeTextFile(`${directory}/${name}`, text);
    await use(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

const base = "model.layers.0.block_sparse_moe.";
const without = (name: string) => {
  const { [name]: _removed, ...rest } = mixtral(0);
  return rest;
};
const withOther = (name: string, value: Tensor) => ({ ...mixtral(0), [name]: value });

/** A layer that is cut up as Mixtral's and has another name. */
const inModule = (name: string) =>
  Object.fromEntries(Object.entries(mixtral(0)).map(([key, value]) => [key.replace("block_sparse_moe", name), value]));

const refused: [string, Files, LayerOptions, new (message: string) => Error, string][] = [
  [
    "an empty directory",
    {},
    {},
    SafetensorsError,
    "there must be a model.safetensors.index.json or a model.safetensors",
  ],
  ["no layer", { tensors: { x: numbered([1]) } }, {}, SafetensorsError, "there is no layer with experts"],
  [
    "two layers and no number",
    { tensors: mixtral(0, 5) },
    { topK: 2 },
    SafetensorsError,
    "--layer is needed; there are layers 0, 5",
  ],
  [
    "another layer",
    { tensors: mixtral(0, 5) },
    { topK: 2, layer: 3 },
    SafetensorsError,
    "there is no layer 3 with experts",
  ],
  ["no router", { tensors: without(`${base}gate.weight`) }, { topK: 2 }, SafetensorsError, `"${base}gate.weight"`],
  [
    "a missing tensor",
    { tensors: without(`${base}experts.1.w3.weight`) },
    { topK: 2 },
    SafetensorsError,
    `tensor "${base}experts.1.w3.weight" is missing`,
  ],
  [
    "a missing gate",
    { tensors: without(`${base}experts.0.w1.weight`) },
    { topK: 2 },
    SafetensorsError,
    `tensor "${base}experts.0.w1.weight" is missing`,
  ],
  [
    "a shape that does not fit",
    { tensors: withOther(`${base}experts.2.w2.weight`, numbered([I, H])) },
    { topK: 2 },
    SafetensorsError,
    `tensor "${base}experts.2.w2.weight" must have shape [4, 2], got [2, 4]`,
  ],
  [
    "integers",
    { tensors: withOther(`${base}experts.0.w2.weight`, tensor(new Int32Array(8), [H, I])) },
    { topK: 2 },
    SafetensorsError,
    `tensor "${base}experts.0.w2.weight" must be of dtype F16, BF16, F32, it is I32`,
  ],
  [
    "another dtype than the rest",
    { tensors: withOther(`${base}experts.2.w1.weight`, tensor(new Float16Array(8), [I, H])) },
    { topK: 2 },
    SafetensorsError,
    `tensor "${base}experts.2.w1.weight" must be of dtype F32`,
  ],
  [
    "an expert too many",
    { tensors: withOther(`${base}experts.3.w2.weight`, numbered([H, I])) },
    { topK: 2 },
    SafetensorsError,
    `tensor "${base}experts.3.w2.weight" is of an expert that the router, of 3, has no row for`,
  ],
  [
    "a tensor of the layer that it has no use for",
    { tensors: withOther(`${base}experts.0.w2.weight_scale`, numbered([1])) },
    { topK: 2 },
    SafetensorsError,
    `tensor "${base}experts.0.w2.weight_scale" is of this layer, and there is no use for it here`,
  ],
  [
    "biases of gates without those of the down projection",
    { tensors: withOther(`${base}experts.0.w1.bias`, numbered([I])) },
    { topK: 2 },
    SafetensorsError,
    `tensor "${base}experts.0.w1.bias" is of this layer, and there is no use for it here`,
  ],
  [
    "gates where experts are to have none",
    { tensors: mixtral(0) },
    { topK: 2, gated: false },
    SafetensorsError,
    `tensor "${base}experts.0.w1.weight" is of this layer, and there is no use for it here`,
  ],
  [
    "an unknown part of a shared expert",
    {
      tensors: {
        ...mixtral(0),
        [`${base}shared_expert.gate_proj.weight`]: numbered([I, H]),
        [`${base}shared_expert.up_proj.weight`]: numbered([I, H]),
        [`${base}shared_expert.down_proj.weight`]: numbered([H, I]),
        [`${base}shared_expert.norm.weight`]: numbered([H]),
      },
    },
    { topK: 2 },
    SafetensorsError,
    `tensor "${base}shared_expert.norm.weight" is of this layer, and there is no use for it here`,
  ],
  [
    "an unknown part of a layer with plain names",
    {
      tensors: {
        "other.weight": numbered([1]),
        "router.weight": numbered([E, H]),
        "router.scale": numbered([E]),
        "experts.gate_up_proj": numbered([E, H, 2 * I]),
        "experts.down_proj": numbered([E, I, H]),
      },
    },
    { topK: 2 },
    SafetensorsError,
    'tensor "router.scale" is of this layer, and there is no use for it here',
  ],
  [
    "blocks of scales that are no pair",
    { tensors: mixtral(0), config: '{"model_type":"mixtral","quantization_config":{"weight_block_size":[128]}}' },
    { topK: 2 },
    SafetensorsError,
    "weight_block_size must be two positive integers, got [128]",
  ],
  [
    "a limit for another activation",
    { tensors: mixtral(0), config: '{"model_type":"mixtral","hidden_act":"gelu","swiglu_limit":10}' },
    { topK: 2 },
    SafetensorsError,
    "swiglu_limit must come with the hidden_act silu, got gelu",
  ],
  ["no top-k", { tensors: mixtral(0) }, {}, SafetensorsError, "The number of experts of each token, top-k, is needed"],
  ["too large a top-k", { tensors: mixtral(0) }, { topK: 4 }, RangeError, "topK must be an integer from 1"],
  [
    "a layout that cannot be",
    { tensors: mixtral(0) },
    { topK: 2, weightLayout: "in-out" },
    RangeError,
    "must be out-in",
  ],
  [
    "a router that the names leave open",
    {
      tensors: inModule("mlp"),
    },
    { topK: 2 },
    SafetensorsError,
    "The router is needed, softmax, ",
  ],
  [
    "a router that there is not here",
    { tensors: mixtral(0), config: '{"model_type":"jetmoe","num_experts_per_tok":2}' },
    {},
    SafetensorsError,
    'the router of "jetmoe" is not known here',
  ],
  [
    "a config of another form",
    { tensors: mixtral(0), config: "[" },
    {},
    SafetensorsError,
    "config.json: it must be JSON",
  ],
  [
    "a config that is no object",
    { tensors: mixtral(0), config: "[]" },
    {},
    SafetensorsError,
    "config.json: it must hold an object",
  ],
  [
    "a router that neither the names nor a config without a model tell",
    {
      tensors: inModule("mlp"),
      config: '{"num_experts_per_tok":2}',
    },
    {},
    SafetensorsError,
    "config.json has no model_type",
  ],
  [
    "weights that fit both layouts",
    {
      tensors: {
        "router.weight": numbered([E, H]),
        "experts.up_proj": numbered([E, H, H]),
        "experts.down_proj": numbered([E, H, H]),
      },
    },
    { topK: 2, gated: false, activation: "silu" },
    SafetensorsError,
    "--weight-layout",
  ],
  [
    "a config of other types",
    { tensors: mixtral(0), config: '{"model_type":"mixtral","num_experts_per_tok":"2"}' },
    {},
    SafetensorsError,
    'num_experts_per_tok must be a positive integer, got "2"',
  ],
  [
    "a shard that is missing",
    {
      other: {
        "model.safetensors.index.json": `{"weight_map":{"${base}experts.0.w2.weight":"a","${base}gate.weight":"a"}}`,
      },
    },
    { topK: 2 },
    SafetensorsError,
    `tensor "${base}gate.weight" must be in`,
  ],
  [
    "a shard in another directory",
    { other: { "model.safetensors.index.json": `{"weight_map":{"${base}gate.weight":"../a"}}` } },
    {},
    SafetensorsError,
    'must lie beside, got "../a"',
  ],
  [
    "an index without a map",
    { other: { "model.safetensors.index.json": '{"a":[1,{"b":-1.5e3}]}' } },
    {},
    SafetensorsError,
    "there must be a weight_map",
  ],
];

for (const [what, files, options, error, message] of refused) {
  Deno.test(`CheckpointLayer.open() refuses ${what}`, async () => {
    await inDirectory(files, async (directory) => {
      await assertRejects(() => CheckpointLayer.open(directory, options), error, message);
    });
  });
}

Deno.test("CheckpointLayer.open() refuses MXFP4 and other bits whose partner is missing, by name", async () => {
  const blocks = "model.layers.0.mlp.experts.down_proj_blocks";
  const path = new URL("../../fixtures/layers/gpt-oss-mxfp4/model.safetensors", import.meta.url).pathname;
  using file = await Safetensors.open(path);
  assertEquals(file.describe(blocks).dtype, "U8");
  await inDirectory({
    tensors: { [blocks]: numbered([E, H, 1, 16]), "model.layers.0.mlp.router.weight": numbered([E, H]) },
  }, async (directory) => {
    const open = () => CheckpointLayer.open(directory, { topK: 2, router: "softmax" });
    await assertRejects(open, SafetensorsError, `tensor "${blocks}" must be of dtype U8, it is F32`);
  });
});

Deno.test("FP8 weights of several blocks, ragged ones too, are read with the scale of each", async () => {
  const [H, I] = [264, 136];
  const names = { "gate_proj": [I, H], "up_proj": [I, H], "down_proj": [H, I] } as const;
  const byte = (at: number) => at % 11 === 0 ? 0 : 0x30 + at * 7 % 24 + (at % 2) * 128; // 0, or ±0.5 to ±3.75
  const value = (bits: number) =>
    bits === 0 ? 0 : (bits & 128 ? -1 : 1) * (8 + (bits & 7)) * 2 ** ((bits >> 3 & 15) - 10);
  const members: string[] = [], parts: Uint8Array[] = [], scaleOf = (block: number) => 2 ** -(block % 5);
  let end = 0;
  const add = (name: string, dtype: string, shape: readonly number[], data: ArrayBufferView<ArrayBuffer>) => {
    members.push(member(name, dtype, [...shape], end, end += data.byteLength));
    parts.push(new Uint8Array(data.buffer));
  };
  add("model.layers.0.mlp.gate.weight", "F32", [1, H], new Float32Array(H));
  for (const [name, shape] of Object.entries(names)) {
    const blocks = shape.map((size) => Math.ceil(size / 128)) as [number, number];
    const full = `model.layers.0.mlp.experts.0.${name}.weight`;
    add(full, "F8_E4M3", shape, Uint8Array.from({ length: H * I }, (_, at) => byte(at)));
    add(`${full}_scale_inv`, "F32", blocks, Float32Array.from({ length: blocks[0] * blocks[1] }, (_, b) => scaleOf(b)));
  }
  const header = new TextEncoder().encode(`{${members.join(",")}}`);
  const path = await Deno.makeTempFile({ suffix: ".safetensors" });
  await new Blob([new BigUint64Array([BigInt(header.length)]), header, ...parts as BlobPart[]]).bytes()
    .then((bytes) => Deno.writeFile(path, bytes));
  using found = await CheckpointLayer.open(path, { router: "softmax", topK: 1 });
  const { gateUpProj, downProj } = await found.read("f32");
  const expected = ([rows, columns]: readonly [number, number]) =>
    Float32Array.from({ length: rows * columns }, (_, at) => {
      const row = Math.floor(at / columns), column = at % columns;
      return value(byte(at)) * scaleOf(Math.floor(row / 128) * Math.ceil(columns / 128) + Math.floor(column / 128));
    });
  assertEquals([...gateUpProj.data], [...expected(names.gate_proj), ...expected(names.up_proj)]);
  assertEquals([...downProj.data], [...expected(names.down_proj)]);
  await Deno.remove(path);
});

Deno.test("A layer of several files is read to its places, gate and up one after the other", async () => {
  const tensors = mixtral(0, 1);
  const names = Object.keys(tensors);
  const weightMap = Object.fromEntries(names.map((name, i) => [name, `part-${i % 3}.safetensors`]));
  const index = JSON.stringify({ metadata: { total_size: 1 }, weight_map: weightMap });
  await inDirectory({ other: { "model.safetensors.index.json": index } }, async (directory) => {
    for (const part of [0, 1, 2]) {
      const own = Object.entries(tensors).filter((_, i) => i % 3 === part);
      await writeSafetensors(`${directory}/part-${part}.safetensors`, Object.fromEntries(own));
    }
    using found = await CheckpointLayer.open(directory, { layer: 1, topK: 2 });
    assertEquals([found.family, found.number, found.dtype], ["mixtral", 1, "f32"]);
    const fractions: number[] = [];
    const layer = await found.read("bf16", (fraction) => fractions.push(fraction));
    assertEquals(layer.gateUpProj.shape, [E, 2 * I, H]);
    assertEquals(layer.downProj.dtype, "bf16");
    assertEquals(layer.router.weight.dtype, "f32");
    assertEquals(found.bytes("bf16"), 2 * E * 3 * I * H + 4 * E * H);
    const whole = await found.read();
    const marks = [...whole.gateUpProj.data].filter((value) => value !== 0);
    assertEquals(marks, [101, 103, 111, 113, 121, 123]);
    assertEquals([...whole.downProj.data].filter((value) => value !== 0), [102, 112, 122]);
    assert(whole.downProj.data.buffer instanceof SharedArrayBuffer);
    assertEquals(fractions.at(-1), 1);
  });
});

Deno.test("The options go before the preset, that before config.json, that before the names", async () => {
  const config = '{"model_type":"olmoe","num_experts_per_tok":3,"norm_topk_prob":true,"hidden_act":"gelu"}';
  await inDirectory({ tensors: mixtral(0), config }, async (directory) => {
    const settings = async (options: LayerOptions) => {
      using found = await CheckpointLayer.open(directory, options);
      const { router, routed } = found.shape;
      return [found.family, routed.activation, router.before, router.after, router.renormalize, router.topK];
    };
    assertEquals(await settings({}), ["olmoe", "gelu", "softmax", "none", true, 3]);
    assertEquals(await settings({ renormalize: false, topK: 1 }), ["olmoe", "gelu", "softmax", "none", false, 1]);
    assertEquals(await settings({ router: "topk-softmax" }), ["olmoe", "gelu", "none", "softmax", false, 3]);
    assertEquals(await settings({ preset: "mixtral-8x7b" }), ["mixtral-8x7b", "silu", "softmax", "none", true, 2]);
    assertEquals(await settings({ activation: "relu2" }), ["olmoe", "relu2", "softmax", "none", true, 3]);
  });
});

Deno.test("What a config.json without a model_type leaves open the names tell", async () => {
  const config = '{"num_experts_per_tok":3,"hidden_act":"gelu"}';
  await inDirectory({ tensors: mixtral(0), config }, async (directory) => {
    using found = await CheckpointLayer.open(directory);
    const { routed, router } = found.shape;
    assertEquals([found.family, found.routerKind], ["mixtral", "softmax-renormalize"]);
    assertEquals([routed.activation, router.topK], ["gelu", 3]);
  });
});

Deno.test("Where the names are those of Mixtral and of Phi-3.5-MoE, a note says which was taken", async () => {
  await inDirectory({ tensors: mixtral(0) }, async (directory) => {
    using taken = await CheckpointLayer.open(directory, { topK: 2 });
    assertEquals(taken.notes.length, 1);
    assertStringIncludes(taken.notes[0]!, "--router sparse-mixer");
    using told = await CheckpointLayer.open(directory, { topK: 2, router: "softmax-renormalize" });
    assertEquals(told.notes, []);
  });
});

Deno.test("Fused experts of an unknown model are laid out as the model whose word for the router it is", async () => {
  for (const [word, expected] of [["router", "swiglu-oai, interleaved"], ["gate", "silu, concatenated"]]) {
    const tensors = {
      [`layers.0.mlp.${word}.weight`]: numbered([E, H]),
      "layers.0.mlp.experts.gate_up_proj": numbered([E, H, 2 * I]),
      "layers.0.mlp.experts.down_proj": numbered([E, I, H]),
    };
    await inDirectory({ tensors }, async (directory) => {
      using found = await CheckpointLayer.open(directory, { topK: 2, router: "softmax" });
      const { activation, gateUpLayout } = found.shape.routed;
      assertEquals(`${activation}, ${gateUpLayout}`, expected);
    });
  }
});
