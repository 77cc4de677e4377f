import { assertEquals, assertStringIncludes } from "@std/assert";
import { Generator, writeSafetensors } from "../../mod.ts";
import { inspectCheckpoint } from "../../src/models/checkpoint/inspect.ts";
import { makeCheckpoint, type Published, sizes, writeCheckpoint } from "./checkpoints.ts";
import { type Encoding, floatsOf, fp8Of, mlxOf, packedOf } from "./encodings.ts";
import { toJson } from "../../src/report/json.ts";
import { published } from "./published.ts";

const named = (name: string) => published.find((family) => family.name === name)!;

/** A directory with a checkpoint, for as long as `use` takes. */
async function inDirectory(
  published: Published,
  use: (directory: string) => Promise<void>,
  encodings = { experts: floatsOf("BF16") },
): Promise<void> {
  const directory = await Deno.makeTempDir();
  try {
    const { tensors } = makeCheckpoint(published, encodings, 5);
    await writeCheckpoint(directory, published, tensors);
    await use(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

for (const family of published) {
  Deno.test(`inspect finds layer 1 of ${family.name} and nothing in its way`, async () => {
    await inDirectory(family, async (directory) => {
      const { problem, layers, sources } = await inspectCheckpoint(directory, { prefix: family.prefix });
      assertEquals([problem, layers.length, sources.length > 0], [null, 1, true]);
      const [{ layer, names, experts, hidden, intermediate, topK, formats, problem: own }] = layers as [
        typeof layers[0],
      ];
      assertEquals({ layer, names, experts, hidden, intermediate, topK, formats, own }, {
        ...{ layer: 1, names: family.base, topK: family.definition.topK, formats: ["bf16"], own: undefined },
        ...{ experts: sizes.experts, hidden: sizes.hidden, intermediate: sizes.intermediate },
      });
    });
  });
}

Deno.test("inspect says what is decided, and from where", async () => {
  await inDirectory(named("deepseek_v32"), async (directory) => {
    const { layers } = await inspectCheckpoint(directory);
    const decisions = Object.fromEntries(layers[0]!.decisions!.map(({ name, value, from }) => [name, [value, from]]));
    assertEquals(decisions, {
      router: ["sigmoid-grouped", "the default of deepseek_v32"],
      topK: [3, "config.json: num_experts_per_tok"],
      renormalize: [true, "the default of deepseek_v32"],
      scale: [2.5, "the default of deepseek_v32"],
      groups: [4, "config.json: n_group"],
      topGroups: [2, "config.json: topk_group"],
      activation: ["silu", "config.json: hidden_act"],
    });
  });
  await inDirectory(named("qwen3_5_moe"), async (directory) => {
    const { layers, others } = await inspectCheckpoint(directory);
    const decision = layers[0]!.decisions!.find(({ name }) => name === "renormalize");
    assertEquals(decision, { name: "renormalize", value: true, from: "the code of qwen3_5_moe_text" });
    assertEquals(others, ["mtp.layers.1.mlp.", "model.visual.blocks.1.mlp."]);
  });
});

Deno.test("inspect names formats and stored bytes", async () => {
  const { experts, hidden, intermediate } = sizes;
  await inDirectory(named("qwen3_moe"), async (directory) => {
    const { layers } = await inspectCheckpoint(directory);
    assertEquals(layers[0]!.formats, ["int4"]);
    const matrices = 3 * experts, values = hidden * intermediate;
    const scales = experts * (2 * intermediate * hidden / 32 + hidden * intermediate / 32);
    assertEquals(layers[0]!.storedBytes, matrices * (values / 2 + 16) + 2 * scales + 4 * experts * hidden);
  }, { experts: packedOf(32, 4, true) });
});

Deno.test("inspect says why a family, a layer, or a format cannot be run", async () => {
  const refused = { ...named("qwen3_moe"), config: { model_type: "ernie4_5_vl_moe" } };
  await inDirectory(refused, async (directory) => {
    const { problem, layers, others } = await inspectCheckpoint(directory);
    assertStringIncludes(problem!, '"ernie4_5_vl_moe" is not supported: its layers have one set of experts for text');
    assertEquals([layers, others], [[], ["model.layers.1.mlp."]]);
  });
  const clamped = { ...named("step3p5"), config: { ...named("step3p5").config, swiglu_limits: [0, 7] } };
  await inDirectory(clamped, async (directory) => {
    const { problem, layers } = await inspectCheckpoint(directory);
    assertEquals(problem, null);
    assertStringIncludes(layers[0]!.problem!, "clamped after the activation");
  });
  await inDirectory(
    named("qwen3_moe"),
    async (directory) => {
      const { layers } = await inspectCheckpoint(directory);
      assertStringIncludes(layers[0]!.problem!, 'down_proj.weight_scale_inv" must have one scale for all of [64, 32]');
    },
    { experts: fp8Of({ name: ".weight_scale_inv", block: [16, 16], dtype: "F32" }) },
  );
});

Deno.test("ERNIE 4.5 in the format of PaddlePaddle is refused by that name, with and without a correction bias", async () => {
  const random = new Generator(1), [H, I, E] = [16, 8, 4];
  for (const hasBias of [true, false]) {
    const directory = await Deno.makeTempDir();
    try {
      const base = "ernie.layers.1.mlp.";
      const expert = (name: string, width: number) => ({
        [`${base}${name}.up_gate_proj.weight`]: random.randn([H, 2 * width]),
        [`${base}${name}.down_proj.weight`]: random.randn([width, H]),
      });
      await writeSafetensors(`${directory}/model.safetensors`, {
        [`${base}gate.weight`]: random.randn([H, E]),
        ...hasBias && { [`${base}moe_statics.e_score_correction_bias`]: random.randn([1, E]) },
        ...Object.assign({}, ...[...Array(E).keys()].map((e) => expert(`experts.${e}`, I))),
        ...expert("shared_experts", 2 * I),
      });
      const config = {
        model_type: "ernie4_5_moe",
        hidden_size: H,
        moe_intermediate_size: I,
        moe_num_experts: E,
        moe_k: 2,
      };
      await Deno.writeTextFile(`${directory}/config.json`, JSON.stringify(config));
      const { layers } = await inspectCheckpoint(directory);
      assertStringIncludes(layers[0]!.problem!, "the layer is in the format of PaddlePaddle");
      assertStringIncludes(layers[0]!.problem!, "which is not supported");
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  }
});

Deno.test("MLX's integers without their offsets are not taken for floats", async () => {
  for (const bits of [4, 8]) {
    const withoutOffsets: Encoding = (...sizes) => {
      const { tensors: { ".biases": _offsets, ...tensors }, ...rest } = mlxOf(32, bits)(...sizes);
      return { ...rest, tensors };
    };
    await inDirectory({ ...named("qwen3_moe"), packing: "mlx" }, async (directory) => {
      const { layers } = await inspectCheckpoint(directory);
      assertStringIncludes(layers[0]!.problem!, "must be of dtype F16, BF16, F32, got U32");
    }, { experts: withoutOffsets });
  }
});

const fixtures = new URL("../../fixtures/layers/", import.meta.url).pathname;

for (const { name } of Deno.readDirSync(fixtures)) {
  Deno.test(`inspect lists the fixture ${name}, or what must be said about it`, async () => {
    const inspection = await inspectCheckpoint(`${fixtures}${name}`);
    assertEquals(inspection, JSON.parse(toJson(inspection)));
    const { problem, layers: [layer, ...others] } = inspection;
    assertEquals([problem, others], [null, []]);
    const flags = await Deno.readTextFile(`${fixtures}${name}/flags.txt`);
    if (flags.includes("--router") || flags.includes("--top-k")) {
      assertStringIncludes(layer?.problem ?? "", " is needed (--");
    } else assertEquals([layer?.problem, (layer?.storedBytes ?? 0) > 0], [undefined, true]);
  });
}

Deno.test("inspect says what a failed download left", async () => {
  const directory = await Deno.makeTempDir();
  const path = `${directory}/model.safetensors`;
  await Deno.writeTextFile(path, "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4976698672\n");
  const problem =
    `${path}: expected a safetensors file, got a Git LFS pointer: the weights were not downloaded (git lfs pull)`;
  assertEquals((await inspectCheckpoint(directory)).problem, problem);
  const { code, stdout } = await inspect(directory);
  assertEquals([code, stdout], [1, `Cannot be run: ${problem}\n`]);
  const json = await inspect(directory, "--json");
  assertEquals([json.code, JSON.parse(json.stdout).problem], [1, problem]);
  assertEquals((await inspect(`${directory}/none`)).code, 1);
  await Deno.remove(directory, { recursive: true });
});

Deno.test("inspect says where the epsilon of norms and the cap of logits come from", async () => {
  for (
    const [name, decision] of [
      ["gemma4 (text_config)", { name: "normEpsilon", value: 1e-3, from: "config.json: rms_norm_eps" }],
      ["grok-1", { name: "logitCap", value: 30, from: "the default of grok-1" }],
      ["grok-2", { name: "logitCap", value: 20, from: "config.json: router_logit_softcapping" }],
    ] as const
  ) {
    await inDirectory(named(name), async (directory) => {
      const { layers } = await inspectCheckpoint(directory);
      assertEquals(layers[0]?.decisions?.find(({ name }) => name === decision.name), decision);
    });
  }
});

Deno.test("inspect names latent experts", async () => {
  await inDirectory(named("nemotron_h (latent experts)"), async (directory) => {
    const { layers: [layer] } = await inspectCheckpoint(directory);
    assertEquals([layer?.hidden, layer?.latent], [sizes.hidden, 32]);
    assertStringIncludes((await inspect(directory)).stdout, "latent");
  });
});

async function inspect(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "-R", new URL("../../cli.ts", import.meta.url).pathname, "inspect", ...args],
    env: { NO_COLOR: "1" },
  }).output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

Deno.test("yamoe inspect prints tables and JSON, and ends with 1 if a layer cannot be run", async () => {
  await inDirectory(named("mixtral"), async (directory) => {
    const text = await inspect(directory);
    assertEquals([text.code, text.stderr], [0, ""]);
    assertStringIncludes(text.stdout, "model.safetensors: mixtral, ");
    assertStringIncludes(text.stdout, "softmax-renormalize");
    const json = await inspect(directory, "--layer", "1", "--json");
    assertEquals([json.code, JSON.parse(json.stdout).layers[0].router], [0, "softmax-renormalize"]);
    assertEquals((await inspect(directory, "--layer", "7")).code, 1);
    assertEquals((await inspect()).code, 2);
  });
});
