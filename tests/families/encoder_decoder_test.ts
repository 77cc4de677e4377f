// Switch Transformers and NLLB-MoE: encoder and decoder, the experts' capacity, and experts without a gate.
import { assertEquals, assertLess, assertRejects, assertStringIncludes } from "@std/assert";
import { openBackend, openLayer, Safetensors, SafetensorsError, tensor, writeSafetensors } from "../../mod.ts";
import { CheckpointLayer } from "../../src/models/checkpoint/checkpoint_layer.ts";
import { inspectCheckpoint } from "../../src/models/checkpoint/inspect.ts";
import { yamoe } from "../cli/yamoe.ts";
import { relativeError } from "../fixtures.ts";
import { makeCheckpoint, type Published, writeCheckpoint } from "./checkpoints.ts";
import { floatsOf } from "./encodings.ts";
import { computeLayer } from "./layer_model.ts";
import { named } from "./stored_formats.ts";

const switchTransformers = named("switch_transformers"), nllb = named("nllb-moe");

async function withCheckpoint(
  published: Published,
  use: (directory: string, made: ReturnType<typeof makeCheckpoint>) => Promise<void>,
): Promise<void> {
  const made = makeCheckpoint(published, { experts: floatsOf("F32") }, 5);
  const directory = await Deno.makeTempDir();
  try {
    await writeCheckpoint(directory, published, made.tensors);
    await use(directory, made);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

for (const published of [switchTransformers, nllb]) {
  Deno.test(`${published.name}: a layer of the encoder and the decoder needs a prefix`, () =>
    withCheckpoint(published, async (directory) => {
      await assertRejects(
        () => CheckpointLayer.open(directory, { layer: 1 }),
        SafetensorsError,
        "layer 1 exists more than once: --prefix is needed",
      );
    }));
}

Deno.test("inspect names the keys of config.json that decide the capacity and the scale", async () => {
  const decided = async (directory: string, prefix: string, name: string) => {
    const { layers: [layer] } = await inspectCheckpoint(directory, { prefix });
    return layer?.decisions?.find((decision) => decision.name === name);
  };
  await withCheckpoint(switchTransformers, async (directory) => {
    const expected = { name: "expertCapacity", value: 1, from: "config.json: expert_capacity" };
    assertEquals(await decided(directory, "encoder.", "expertCapacity"), expected);
  });
  await withCheckpoint(nllb, async (directory) => {
    const expected = { name: "scale", value: 0.75, from: "config.json: moe_token_dropout" };
    assertEquals(await decided(directory, "model.encoder.", "scale"), expected);
  });
});

Deno.test("run drops tokens beyond the model's capacity, which --capacity replaces", () =>
  withCheckpoint(switchTransformers, async (directory, { hidden, layer }) => {
    const [input, output] = [`${directory}/x.safetensors`, `${directory}/y.safetensors`];
    await writeSafetensors(input, { x: tensor(Float32Array.from(hidden.values), [hidden.rows, hidden.columns]) });
    const files = ["--weights", directory, "--input", input, "--output", output];
    for (const capacity of [1, 6]) {
      const flags = capacity === 1 ? [] : ["--capacity", `${capacity}`];
      const { code, stdout, stderr } = await yamoe(["run", ...files, "--prefix", "encoder.", "--json", ...flags], [
        "-RW",
      ]);
      assertEquals(code, 0, stderr);
      assertStringIncludes(stderr, "An expert of the model keeps the first 1 of its tokens in a sequence");
      assertEquals(JSON.parse(stdout).capacity, capacity);
      using file = await Safetensors.open(output);
      const { data } = await file.read("output");
      const expected = computeLayer({ ...switchTransformers.definition, capacity }, layer, hidden);
      assertLess(relativeError(data, expected), 2e-6);
    }
  }));

Deno.test("the calls of an open layer drop tokens beyond the model's capacity, which an option replaces", () =>
  withCheckpoint(switchTransformers, async (directory, { hidden, layer: weights }) => {
    using backend = await openBackend("cpu", { threads: 1 });
    using layer = await openLayer(directory, { backend, prefix: "encoder." });
    using input = backend.upload(tensor(Float32Array.from(hidden.values), [hidden.rows, hidden.columns]));
    for (const [options, capacity] of [[{}, 1], [{ expertCapacity: 6 }, 6]] as const) {
      using output = await backend.moe(input, layer, options);
      const { data } = await backend.download(output);
      assertLess(
        relativeError(data, computeLayer({ ...switchTransformers.definition, capacity }, weights, hidden)),
        2e-6,
      );
    }
    const none = () => backend.moe(input, { ...layer, expertCapacity: 0 });
    await assertRejects(none, RangeError, "layer.expertCapacity must be an integer of at least 1");
  }));

Deno.test("bench drops tokens beyond its own capacity, not beyond the model's", () =>
  withCheckpoint({ ...switchTransformers, others: [] }, async (directory) => {
    const flags = ["--op", "moe", "--tokens", "6", "--warmup", "0", "--iters", "1", "--backend", "cpu", "--json"];
    for (const [capacity, kept] of [["none", 6], ["1", 3]] as const) {
      const { code, stdout, stderr } = await yamoe(
        ["bench", "--weights", directory, ...flags, "--capacity", capacity],
        ["-R"],
      );
      assertEquals(code, 0, stderr);
      assertEquals(JSON.parse(stdout).kept, kept);
    }
  }));

Deno.test("experts without a gate are refused if the settings say that they have one", () =>
  withCheckpoint(switchTransformers, async (directory) => {
    await Deno.remove(`${directory}/config.json`);
    const options = { prefix: "encoder.", router: "softmax", topK: 1, activation: "relu" } as const;
    await assertRejects(
      () => CheckpointLayer.open(directory, { ...options, gateUpLayout: "concatenated" }),
      SafetensorsError,
      "belongs to an expert without a gate: --ungated is needed",
    );
    using layer = await CheckpointLayer.open(directory, { ...options, gated: false });
    assertEquals([layer.shape.routed.gated, layer.expertCapacity], [false, undefined]);
  }));
