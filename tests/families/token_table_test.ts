// DeepSeek-V4's first layers: a table of token ids chooses the experts, and the router weighs them.
import { assertEquals, assertLess, assertRejects, assertStringIncludes } from "@std/assert";
import { openBackend, openLayer, Safetensors, tensor } from "../../mod.ts";
import { CheckpointLayer } from "../../src/models/checkpoint/checkpoint_layer.ts";
import { inspectCheckpoint } from "../../src/models/checkpoint/inspect.ts";
import { relativeError } from "../fixtures.ts";
import { makeCheckpoint, sizes, writeCheckpoint } from "./checkpoints.ts";
import { floatsOf, floatTensor, randomOf, type Raw } from "./encodings.ts";
import { writeRaw } from "./raw_file.ts";
import { computeLayer } from "./layer_model.ts";
import { published } from "./published.ts";

const { correctionBias: _correctionBias, ...hashed } = published.find(({ name }) => name === "deepseek_v4")!;
const { topK } = hashed.definition, vocabulary = 10;

const integers = (values: readonly number[], shape: readonly number[]): Raw => ({
  dtype: "I64",
  shape,
  bytes: new Uint8Array(BigInt64Array.from(values, BigInt).buffer),
});

async function yamoe(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-prompt",
      "-RW",
      new URL("../../cli.ts", import.meta.url).pathname,
      ...args,
      "--threads=1",
    ],
    env: { NO_COLOR: "1" },
  }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { code, stdout: out!, stderr: err! };
}

/** A layer that chooses experts by token id, in a directory. */
async function hashedLayer(directory: string) {
  const random = randomOf(9);
  const table = Array.from(
    { length: vocabulary },
    () =>
      [...Array(sizes.experts).keys()].map((e) => [random(), e] as const).sort(([a], [b]) => a - b).slice(0, topK)
        .map(([, e]) => e),
  );
  const ids = [3, 0, 9, 3, 7, 1];
  const { tensors, hidden, layer } = makeCheckpoint(hashed, { experts: floatsOf("BF16") }, 4);
  const expected = computeLayer(hashed.definition, { ...layer, chosen: ids.map((id) => table[id]!) }, hidden);
  const tokenTable = { [`${hashed.base}gate.tid2eid`]: integers(table.flat(), [vocabulary, topK]) };
  await writeCheckpoint(directory, hashed, { ...tensors, ...tokenTable });
  return { ids, hidden, expected };
}

Deno.test("moe takes token ids for a layer of openLayer that chooses experts by them", async () => {
  const directory = await Deno.makeTempDir();
  const { ids, hidden: { rows, columns, values }, expected } = await hashedLayer(directory);
  using backend = await openBackend("cpu", { threads: 1, blas: "none" });
  {
    using layer = await openLayer(directory, { backend, dtype: "f32" });
    using hidden = backend.upload(tensor(Float32Array.from(values), [rows, columns]));
    for (const tokenIds of [ids, Int32Array.from(ids)]) {
      using output = await backend.moe(hidden, layer, { tokenIds });
      assertLess(relativeError((await backend.download(output)).data, expected), 2e-6);
    }
    const refused: readonly [unknown, typeof TypeError | typeof RangeError, string][] = [
      [
        undefined,
        TypeError,
        "tokenIds must be an array or an Int32Array, because the layer chooses experts by token id",
      ],
      [[1], RangeError, "tokenIds must have 6 ids, got 1"],
      [[0, 0, 0, 0, 0, 10], RangeError, "tokenIds must be in the layer's token table of shape [10, 3], got 10"],
      [[0, 0, 0, 0, 0, 0.5], RangeError, "got 0.5"],
    ];
    for (const [tokenIds, error, message] of refused) {
      await assertRejects(() => backend.moe(hidden, layer, { tokenIds: tokenIds as number[] }), error, message);
    }
    const { tokenTable: _tokenTable, ...router } = layer.router;
    const plain = () => backend.moe(hidden, { ...layer, router }, { tokenIds: ids });
    await assertRejects(plain, TypeError, "tokenIds must only be given for a layer whose router has a token table");
  }
  assertEquals(backend.memory.liveBytes, 0);
  await Deno.remove(directory, { recursive: true });
});

Deno.test("a layer that chooses experts by token id does not miss a correction bias", async () => {
  const directory = await Deno.makeTempDir();
  await hashedLayer(directory);
  const path = `${directory}/config.json`, config = JSON.parse(await Deno.readTextFile(path));
  await Deno.writeTextFile(path, JSON.stringify({ ...config, topk_method: "noaux_tc" }));
  using layer = await CheckpointLayer.open(directory);
  assertEquals(layer.notes.filter((note) => note.includes("correction bias")), []);
  await Deno.remove(directory, { recursive: true });
});

Deno.test("bench times the experts of a layer that chooses them by token id", async () => {
  const directory = await Deno.makeTempDir();
  await hashedLayer(directory);
  const args = ["bench", "--weights", directory, "--layer", "1", "--seq", "16", "--iters", "1", "--json"];
  const { code, stdout, stderr } = await yamoe(...args);
  assertEquals(code, 0, stderr);
  const { tokensPerExpert } = JSON.parse(stdout);
  assertEquals(tokensPerExpert.reduce((sum: number, count: number) => sum + count), 16 * topK);
  const whole = await yamoe(...args, "--op", "moe");
  assertEquals(whole.code, 1);
  assertStringIncludes(
    whole.stderr,
    "the host computes steps of layer 1: only --op experts can be timed",
  );
  await Deno.remove(directory, { recursive: true });
});

Deno.test("run takes token ids for a layer that chooses experts by them", async () => {
  const directory = await Deno.makeTempDir();
  const [input, output] = [`${directory}/x.safetensors`, `${directory}/y.safetensors`];
  const { ids, hidden, expected } = await hashedLayer(directory);
  const states = { hidden_states: floatTensor("F32", hidden.values, [2, hidden.rows / 2, hidden.columns]).raw };
  const args = ["run", "--weights", directory, "--layer", "1", "--input", input, "--output", output];

  await writeRaw(input, { ...states, input_ids: integers(ids, [2, hidden.rows / 2]) });
  const { layers: [inspected] } = await inspectCheckpoint(directory);
  assertEquals([inspected?.byToken, inspected?.problem], [true, undefined]);
  const right = await yamoe(...args);
  assertEquals(right.code, 0, right.stderr);
  using file = await Safetensors.open(output);
  assertLess(relativeError((await file.read("output")).data, expected), 2e-6);

  const refused: readonly [Record<string, Raw>, string][] = [
    [states, 'the layer chooses experts by token id: expected a tensor "input_ids" beside "hidden_states"'],
    [{ ...states, input_ids: integers([1], [1]) }, 'tensor "input_ids" must have 6 tokens, got 1'],
    [
      { ...states, input_ids: integers([0, 0, 0, 0, 0, 10], [6]) },
      'tensor "input_ids" must have token ids from 0 to 9, as the layer\'s token table, got 10',
    ],
    [
      { ...states, input_ids: integers([0, 0, 0, 0, 0, -1], [6]) },
      'tensor "input_ids" must have token ids from 0 to 9, as the layer\'s token table, got -1',
    ],
    [
      { ...states, input_ids: floatTensor("F32", ids, [6]).raw },
      'tensor "input_ids" must be of dtype I64, I32, got F32',
    ],
  ];
  for (const [inputs, message] of refused) {
    await writeRaw(input, inputs);
    const { code, stderr } = await yamoe(...args);
    assertEquals(code, 1);
    assertStringIncludes(stderr, message);
    assertEquals(stderr.trim().split("\n").length, 1, "the weights were read before"); // a note on the layer comes before
  }
  await Deno.remove(directory, { recursive: true });
});
