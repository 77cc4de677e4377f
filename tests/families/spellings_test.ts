// The same layers under other names, in other files, and with configurations that leave something out.
import { assertEquals, assertLess, assertMatch, assertRejects } from "@std/assert";
import { moe, SafetensorsError, tensor } from "../../mod.ts";
import { CheckpointLayer } from "../../src/models/checkpoint/checkpoint_layer.ts";
import { relativeError } from "../fixtures.ts";
import { makeCheckpoint, type Published, writeCheckpoint } from "./checkpoints.ts";
import { floatsOf, fp8Of, gptqOf, packedOf } from "./encodings.ts";
import type { Names } from "./packings.ts";
import { writeRaw } from "./raw_file.ts";
import { named } from "./stored_formats.ts";

const bf16 = { experts: floatsOf("BF16") };

/** Writes a changed checkpoint and returns the error of its layer. */
async function errorOf(
  published: Published,
  { config = published.config, encodings = bf16, rename = (name: string) => name, write = writeOne }: {
    readonly config?: Readonly<Record<string, unknown>>;
    readonly encodings?: Parameters<typeof makeCheckpoint>[1];
    readonly rename?: (name: string) => string;
    readonly write?: (directory: string, tensors: Names) => Promise<void>;
  },
): Promise<number> {
  const { tensors, hidden, output } = makeCheckpoint(published, encodings, 5);
  const directory = await Deno.makeTempDir();
  try {
    await writeCheckpoint(directory, { ...published, config }, {});
    await Deno.remove(`${directory}/model.safetensors`);
    await write(directory, Object.fromEntries(Object.entries(tensors).map(([name, raw]) => [rename(name), raw])));
    using layer = await CheckpointLayer.open(directory, { layer: 1 });
    const input = tensor(Float32Array.from(hidden.values), [hidden.rows, hidden.columns]);
    return relativeError((await moe(input, await layer.read("f32"))).data, output);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

async function writeOne(directory: string, tensors: Names): Promise<void> {
  await writeRaw(`${directory}/model.safetensors`, tensors);
}

/** Writes a part of the tensors to each file, and an index if it has a name. */
const writeShards = (files: readonly string[], index?: string) => async (directory: string, tensors: Names) => {
  const map: Record<string, string> = {};
  for (const [i, file] of files.entries()) {
    const own = Object.entries(tensors).filter((_, at) => at % files.length === i);
    for (const [name] of own) map[name] = file;
    await writeRaw(`${directory}/${file}`, Object.fromEntries(own));
  }
  if (index) await Deno.writeTextFile(`${directory}/${index}`, JSON.stringify({ weight_map: map }));
};

const prefixes = [
  ...[
    "",
    "model.language_model.",
    "language_model.model.",
    "backbone.",
    "transformer.",
    "module.model.",
    "model.model.",
  ],
  ...["_orig_mod.model.", "base_model.model.model.", "model.text_model.", "model.decoder.", "llm.model."],
];
for (const family of ["qwen3_moe", "deepseek_v3", "mixtral"]) {
  Deno.test(`${family} is found under other prefixes, with its tensors in any order`, async () => {
    for (const prefix of prefixes) {
      const error = await errorOf(named(family), {
        rename: (name) => name.replace(/^model\./, prefix),
        write: (directory, tensors) => writeOne(directory, Object.fromEntries(Object.entries(tensors).reverse())),
      });
      assertLess(error, 2e-6, prefix);
    }
  });
}

/** Puts a byte order mark at the beginning of a file. */
async function mark(path: string): Promise<void> {
  await Deno.writeTextFile(path, `\ufeff${await Deno.readTextFile(path)}`);
}

const numbered = (count: number, numbers: readonly number[]) =>
  numbers.map((i) => `model-0000${i}-of-0000${count}.safetensors`);
const shards = numbered(3, [1, 2, 3]);
Deno.test("A directory may have an index of any name, shards without an index, or one file of any name", async () => {
  for (
    const write of [
      writeShards(shards, "model.safetensors.index.json"),
      writeShards(shards, "model.safetensors.index.fp8.json"),
      writeShards(["a.safetensors", "b.safetensors"], "model.fp16.safetensors.index.json"),
      writeShards(shards),
      writeShards(numbered(3, [0, 1, 2])),
      writeShards(["model-00001-of-00001.safetensors"]),
      writeShards(["consolidated.safetensors"]),
      async (directory: string, tensors: Names) => {
        await writeShards(shards, "model.safetensors.index.json")(directory, tensors);
        for (const name of ["model.safetensors.index.json", "config.json"]) await mark(`${directory}/${name}`);
      },
    ]
  ) assertLess(await errorOf(named("qwen3_moe"), { write }), 2e-6);
});

Deno.test("Shards without an index must be all of one model", async () => {
  for (
    const [files, message] of [
      [shards.slice(1), "expected 3 shards, got 2: the download is not complete; missing shards: 1"],
      [numbered(5, [1, 2, 4, 5, 7]), "expected 5 shards, got 5: the download is not complete; missing shards: 3"],
      [numbered(9, [0, 3, 4]), "expected 9 shards, got 3: the download is not complete; missing shards: 1, 2, 5, …"],
      [
        ["a.safetensors", "b.safetensors"],
        'expected a model.safetensors.index.json or a model.safetensors, got "a.saf',
      ],
    ] as const
  ) {
    const run = () => errorOf(named("qwen3_moe"), { write: writeShards(files) });
    await assertRejects(run, SafetensorsError, message);
  }
  const many = () => errorOf(named("qwen3_moe"), { write: writeShards(numbered(3, [1, 2, 3, 4])) });
  assertMatch((await assertRejects(many, SafetensorsError)).message, /expected 3 shards, got 4$/);
  const twice = async (directory: string, tensors: Names) => {
    for (const i of [1, 2]) await writeRaw(`${directory}/model-0000${i}-of-00002.safetensors`, tensors);
  };
  await assertRejects(
    () => errorOf(named("qwen3_moe"), { write: twice }),
    SafetensorsError,
    `is in "model-00001-of-00002.safetensors" too`,
  );
});

Deno.test("The architecture's name counts where model_type is absent or unknown", async () => {
  for (
    const [family, name] of [
      ["qwen3_moe", "Qwen3MoeForCausalLM"],
      ["olmoe", "OlmoeForCausalLM"],
      ["deepseek_v2 (greedy)", "DeepseekV2ForCausalLM"],
      ["gpt_oss", "GptOssForCausalLM"],
      ["granitemoe", "GraniteMoeForCausalLM"],
    ] as const
  ) {
    for (const model_type of [undefined, "something_else"]) {
      const config = { ...named(family).config, model_type, architectures: [name] };
      assertLess(await errorOf(named(family), { config }), 2e-6, name);
    }
  }
});

Deno.test("Quantization is found in compression_config, and the bits of GPTQ in the shapes", async () => {
  const blocks = fp8Of({ name: ".weight_scale", block: [16, 32], dtype: "BF16" });
  const weights = { block_structure: [16, 32] };
  const config = {
    ...named("deepseek_v3").config,
    compression_config: { quant_method: "compressed-tensors", config_groups: { group_0: { weights } } },
  };
  assertLess(await errorOf(named("deepseek_v3"), { config, encodings: { experts: blocks } }), 2e-6);
  for (const bits of [4, 8]) {
    assertLess(await errorOf(named("qwen3_moe"), { encodings: { experts: gptqOf(32, { bits }) } }), 2e-6);
  }
});

Deno.test("Integers whose zero points are missing are refused if config.json says that they have some", async () => {
  const configOf = (symmetric: boolean) => ({
    ...named("qwen3_moe").config,
    quantization_config: { quant_method: "compressed-tensors", config_groups: { group_0: { weights: { symmetric } } } },
  });
  for (const [has, says] of [[true, true], [false, false], [true, false]] as const) {
    const result = errorOf(named("qwen3_moe"), {
      config: configOf(says),
      encodings: { experts: packedOf(32, 4, has) },
    });
    if (has === says) assertLess(await result, 2e-6);
    else {
      const message = '.weight_zero_point" is missing, but config.json has "symmetric": false';
      await assertRejects(() => result, SafetensorsError, message);
    }
  }
});

/** The defaults of the configuration classes of transformers 5.18.0. */
const topKs: Readonly<Record<string, number>> = {
  ...{ mixtral: 2, minimax: 2, qwen2_moe: 4, qwen3_moe: 8, olmoe: 8, flex_olmo: 5, phimoe: 2, gpt_oss: 4 },
  ...{ granitemoe: 2, jamba: 2, deepseek_v4: 6, kimi_k2: 8, glm4_moe: 8, glm4_moe_lite: 4, solar_open: 8 },
  ...{ nemotron_h: 2, minimax_m2: 8, minimax_m3_vl: 4, afmoe: 6, lfm2_moe: 4, step3p5: 8, llama4: 1 },
  ...{ ernie4_5_moe: 6, hunyuan_v1_moe: 1, aria: 2, dbrx: 1, qwen3_5_moe: 8, qwen3_vl_moe: 4 },
};

/** Removes the number of experts of each token from a configuration. */
function withoutTopK(config: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const keys = ["num_experts_per_tok", "moe_k", "moe_topk", "moe_top_k", "experts_per_token"];
  return Object.fromEntries(
    Object.entries(config).filter(([key]) => !keys.includes(key)).map(([key, value]) => [
      key,
      typeof value === "object" && value !== null && !Array.isArray(value)
        ? withoutTopK(value as Record<string, unknown>)
        : value,
    ]),
  );
}

Deno.test("A configuration without the number of experts of each token has its class's default", async () => {
  for (const [family, topK] of Object.entries(topKs)) {
    const published = named(family);
    const { tensors } = makeCheckpoint(published, bf16, 5);
    const directory = await Deno.makeTempDir();
    await writeCheckpoint(directory, { ...published, config: withoutTopK(published.config) }, tensors);
    using layer = await CheckpointLayer.open(directory, { layer: 1, prefix: published.prefix });
    assertEquals(layer.shape.routed.topK, topK, family);
    await Deno.remove(directory, { recursive: true });
  }
});
