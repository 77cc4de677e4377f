// Files that are missing, malformed, or not what their names say.
import { assertEquals, assertRejects } from "@std/assert";
import { Safetensors, SafetensorsError } from "../../mod.ts";
import { CheckpointLayer } from "../../src/models/checkpoint/checkpoint_layer.ts";
import { type Files, inDirectory, mixtral } from "./checkpoints.ts";

const gate = "model.layers.0.block_sparse_moe.gate.weight";
const index = "model.safetensors.index.json";
const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4976698672\n";

const refused: Readonly<Record<string, readonly [Files, message: string]>> = {
  "an empty directory": [{}, `expected a ${index} or a model.safetensors, got neither`],
  "weights of another format": [{ other: { "model.gguf": "GGUF" } }, 'got "model.gguf"'],
  "PyTorch's weights": [
    { other: { "pytorch_model.bin": "PK", "pytorch_model.bin.index.json": "{}" } },
    'got "pytorch_model.bin", "pytorch_model.bin.index.json"',
  ],
  "config.json that is not JSON": [{ tensors: mixtral(0), config: "[" }, "config.json: expected JSON, got other text"],
  "config.json that is a pointer": [
    { tensors: mixtral(0), config: pointer },
    "config.json: expected JSON, got a Git LFS pointer",
  ],
  "config.json that is a web page": [
    { tensors: mixtral(0), config: "<!DOCTYPE html>" },
    "config.json: expected JSON, got a web page",
  ],
  "config.json that is not an object": [{ tensors: mixtral(0), config: "[]" }, "config.json: expected an object"],
  "an index that is a pointer": [
    { other: { [index]: pointer } },
    "expected an index of safetensors files, got a Git LFS pointer",
  ],
  "an index without a map": [{ other: { [index]: '{"a":[1,{"b":-1.5e3}]}' } }, "expected a weight_map"],
  "a missing shard": [
    {
      other: {
        [index]: `{"weight_map":{"model.layers.0.block_sparse_moe.experts.0.w2.weight":"a","${gate}":"a"}}`,
      },
    },
    `tensor "${gate}" must be in`,
  ],
  "a shard in another directory": [
    { other: { [index]: `{"weight_map":{"${gate}":"../a"}}` } },
    'must be in the same directory, got "../a"',
  ],
};

for (const [what, [files, message]] of Object.entries(refused)) {
  Deno.test(`CheckpointLayer.open() refuses ${what}`, async () => {
    await inDirectory(files, async (directory) => {
      await assertRejects(() => CheckpointLayer.open(directory, { topK: 2 }), SafetensorsError, message);
    });
  });
}

const formats: Readonly<Record<string, readonly number[] | string>> = {
  "a Git LFS pointer: the weights were not downloaded": pointer,
  "a GGUF file": "GGUF\x03\0\0\0\0\0\0\0",
  "a ZIP archive": "PK\x03\x04\0\0\0\0\0\0",
  "a pickle": [0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9],
  "a NumPy array": [0x93, ...new TextEncoder().encode("NUMPY\x01\0v\0")],
  "an HDF5 file": [0x89, ...new TextEncoder().encode("HDF\r\n\x1a\n\0")],
  "a gzip archive": [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0],
  "a Zstandard archive": [0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0, 0],
  "a web page": "\n<!doctype html><html>",
  "an empty file": "",
  "zeros: the download is not complete": Array(100).fill(0),
  'text: "Entry not found"': "Entry not found",
  'text: "Access to model x is restricted."': "Access to model x is restricted.\nYou must log in.",
};

for (const [name, content] of Object.entries(formats)) {
  Deno.test(`A safetensors file that is ${name.split(":")[0]} is refused as such`, async () => {
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : Uint8Array.from(content);
    const message = `expected a safetensors file, got ${name}`;
    await assertRejects(() => Safetensors.open(bytes), SafetensorsError, message);
    await inDirectory({ other: { "model.safetensors": bytes } }, async (directory) => {
      await assertRejects(() => CheckpointLayer.open(directory, { topK: 2 }), SafetensorsError, message);
    });
  });
}

for (const name of ["model.bin", "model.pt", "model.gguf"]) {
  Deno.test(`${name} is refused as what it is when it is named`, async () => {
    const content = name.endsWith("gguf") ? "GGUF\x03\0\0\0\0\0\0\0" : "PK\x03\x04\0\0\0\0\0\0";
    await inDirectory({ other: { [name]: content } }, async (directory) => {
      const message = `${name}: expected a safetensors file, got ${
        name.endsWith("gguf") ? "a GGUF file" : "a ZIP archive"
      }`;
      await assertRejects(() => CheckpointLayer.open(`${directory}/${name}`, { topK: 2 }), SafetensorsError, message);
    });
  });
}

Deno.test("A shard that is short, or a link to nothing, is refused", async () => {
  await inDirectory({ tensors: mixtral(0) }, async (directory) => {
    const path = `${directory}/model.safetensors`, { size } = await Deno.stat(path);
    const open = () => CheckpointLayer.open(directory, { topK: 2 });
    await Deno.truncate(path, size - 4);
    await assertRejects(open, SafetensorsError, "bytes of data: the download is not complete");
    await Deno.truncate(path, 100);
    await assertRejects(open, SafetensorsError, `${path}: the header must have`);
    await Deno.remove(path);
    if (Deno.build.os === "windows") return;
    for (const link of [path, `${directory}/model-00001-of-00001.safetensors`]) {
      await Deno.symlink("../blobs/0a", link);
      await assertRejects(open, SafetensorsError, `${link}: the file that the link leads to does not exist`);
      await Deno.remove(link);
    }
  });
});

Deno.test("Pipes and directories are refused where files are expected", async () => {
  for (
    const [name, files] of [["model.safetensors", {}], ["config.json", { tensors: mixtral(0) }], [index, {}]] as const
  ) {
    await inDirectory(files, async (directory) => {
      const open = () => CheckpointLayer.open(directory, { topK: 2 });
      await Deno.mkdir(`${directory}/${name}`);
      await assertRejects(open, SafetensorsError, `${name}: expected a file, got a directory`);
      await Deno.remove(`${directory}/${name}`);
      if (Deno.build.os === "windows") return;
      const { success } = await new Deno.Command("mkfifo", { args: [`${directory}/${name}`] }).output();
      assertEquals(success, true);
      await assertRejects(open, SafetensorsError, `${name}: expected a file, got a pipe or device`);
    });
  }
});

Deno.test("Metadata that is null counts as none", async () => {
  const header = '{"__metadata__":null,"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}';
  const bytes = new Uint8Array(8 + header.length + 4);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true);
  bytes.set(new TextEncoder().encode(header), 8);
  using file = await Safetensors.open(bytes);
  assertEquals([[...file.metadata], [...file.tensors.keys()]], [[], ["x"]]);
});
