// DeepSeek-V4's first layers: a table of token ids chooses the experts, and the router weighs them.
import { assertEquals, assertLess, assertStringIncludes } from "@std/assert";
import { Safetensors } from "../../mod.ts";
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

async function run(...args: string[]): Promise<{ code: number; stderr: string }> {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-prompt",
      "-RW",
      new URL("../../cli.ts", import.meta.url).pathname,
      "run",
      "--threads=1",
      ...args,
    ],
    env: { NO_COLOR: "1" },
  }).output();
  return { code, stderr: new TextDecoder().decode(stderr) };
}

Deno.test("run takes token ids for a layer that chooses experts by them", async () => {
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
  const directory = await Deno.makeTempDir();
  const [input, output] = [`${directory}/x.safetensors`, `${directory}/y.safetensors`];
  const tokenTable = { [`${hashed.base}gate.tid2eid`]: integers(table.flat(), [vocabulary, topK]) };
  await writeCheckpoint(directory, hashed, { ...tensors, ...tokenTable });
  const states = { hidden_states: floatTensor("F32", hidden.values, [2, hidden.rows / 2, hidden.columns]).raw };
  const args = ["--weights", directory, "--layer", "1", "--input", input, "--output", output];

  await writeRaw(input, { ...states, input_ids: integers(ids, [2, hidden.rows / 2]) });
  const { layers: [inspected] } = await inspectCheckpoint(directory);
  assertEquals([inspected?.byToken, inspected?.problem], [true, undefined]);
  const right = await run(...args);
  assertEquals(right.code, 0, right.stderr);
  using file = await Safetensors.open(output);
  assertLess(relativeError((await file.read("output")).data, expected), 2e-6);

  const refused: readonly [Record<string, Raw>, string][] = [
    [states, 'the layer chooses experts by token id: expected a tensor "input_ids" beside "hidden_states"'],
    [{ ...states, input_ids: integers([1], [1]) }, 'tensor "input_ids" must have 6 tokens, got 1'],
    [{ ...states, input_ids: integers([0, 0, 0, 0, 0, 10], [6]) }, "Token id 10 is not in the table of the layer"],
    [
      { ...states, input_ids: floatTensor("F32", ids, [6]).raw },
      'tensor "input_ids" must be of dtype I64, I32, got F32',
    ],
  ];
  for (const [inputs, message] of refused) {
    await writeRaw(input, inputs);
    const { code, stderr } = await run(...args);
    assertEquals(code, 1);
    assertStringIncludes(stderr, message);
  }
  await Deno.remove(directory, { recursive: true });
});
