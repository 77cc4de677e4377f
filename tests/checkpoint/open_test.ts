// When the files of a checkpoint are opened and closed.
import { assertEquals, assertRejects } from "@std/assert";
import { SafetensorsError, writeSafetensors } from "../../mod.ts";
import { Checkpoint } from "../../src/models/checkpoint/checkpoint.ts";
import { inDirectory, mixtral } from "./checkpoints.ts";

const tensors = mixtral(0), names = Object.keys(tensors);
const weightMap = Object.fromEntries(names.map((name) => [name, "part.safetensors"]));
const other = { "model.safetensors.index.json": JSON.stringify({ weight_map: weightMap }) };

Deno.test("A checkpoint opens a file once for concurrent reads", async () => {
  await inDirectory({ other }, async (directory) => {
    await writeSafetensors(`${directory}/part.safetensors`, tensors);
    using checkpoint = await Checkpoint.open(directory);
    const { open } = Deno;
    let opened = 0;
    Deno.open = (...parameters) => {
      opened++;
      return open(...parameters);
    };
    try {
      const described = await Promise.all(names.map((name) => checkpoint.describe(name)));
      assertEquals(described.map(({ shape }) => shape), Object.values(tensors).map(({ shape }) => shape));
    } finally {
      Deno.open = open;
    }
    assertEquals(opened, 1);
  });
});

Deno.test("A checkpoint opens a file that was missing before", async () => {
  await inDirectory({ other }, async (directory) => {
    using checkpoint = await Checkpoint.open(directory);
    const [first = "", second = ""] = names;
    for (const name of [first, second]) {
      await assertRejects(
        async () => await checkpoint.describe(name),
        SafetensorsError,
        `tensor "${name}" must be in ${directory}/part.safetensors, which does not exist`,
      );
    }
    await writeSafetensors(`${directory}/part.safetensors`, tensors);
    assertEquals((await checkpoint.describe(first)).shape, tensors[first]?.shape);
  });
});

Deno.test("A checkpoint that is closed while it opens a file closes the file", async () => {
  await inDirectory({ other }, async (directory) => {
    await writeSafetensors(`${directory}/part.safetensors`, tensors);
    const checkpoint = await Checkpoint.open(directory);
    const described = checkpoint.describe(names[0] ?? "");
    checkpoint[Symbol.dispose]();
    const message = "the checkpoint was closed while a file was opened";
    await assertRejects(async () => await described, SafetensorsError, message);
  });
});
