// What CheckpointLayer.read() returns: dtypes, quantized weights, several files.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { SafetensorsError, tensor, writeSafetensors } from "../../mod.ts";
import { CheckpointLayer } from "../../src/models/checkpoint/checkpoint_layer.ts";
import { E, encodeStored, H, I, inDirectory, mixtral, numbered, type StoredData } from "./checkpoints.ts";

Deno.test("A layer in several files is read into one tensor per weight, gate before up", async () => {
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
    assertEquals(found.bytes({ dtype: "bf16" }), 2 * E * 3 * I * H + 4 * E * H);
    const whole = await found.read();
    const marks = [...whole.gateUpProj.data].filter((value) => value !== 0);
    assertEquals(marks, [101, 103, 111, 113, 121, 123]);
    assertEquals([...whole.downProj.data].filter((value) => value !== 0), [102, 112, 122]);
    assert(whole.downProj.data.buffer instanceof SharedArrayBuffer);
    assertEquals(fractions.at(-1), 1);
  });
});

Deno.test("Experts of several dtypes are read in the dtype that holds them all", async () => {
  const name = "model.layers.0.block_sparse_moe.experts.2.w1.weight";
  const half = tensor(new Float16Array(I * H).fill(0.5), [I, H]);
  await inDirectory({ tensors: { ...mixtral(0), [name]: half } }, async (directory) => {
    using found = await CheckpointLayer.open(directory, { topK: 2 });
    assertEquals(found.dtype, "f32");
    const { gateUpProj } = await found.read();
    assertEquals([...gateUpProj.data.subarray(4 * I * H, 5 * I * H)], Array(I * H).fill(0.5));
  });
});

/** Opens a file with one expert and one router row, and reads it as f32. */
async function readOne(tensors: readonly StoredData[], hidden: number) {
  const router = { name: "model.layers.0.mlp.gate.weight", dtype: "F32", shape: [1, hidden] };
  const path = await Deno.makeTempFile({ suffix: ".safetensors" });
  try {
    await Deno.writeFile(path, encodeStored([{ ...router, data: new Float32Array(hidden) }, ...tensors]));
    using found = await CheckpointLayer.open(path, {
      ...{ router: "softmax", topK: 1, activation: "silu", gateUpLayout: "concatenated" },
    });
    return { dtype: found.dtype, ...await found.read("f32") };
  } finally {
    await Deno.remove(path);
  }
}

const byteOf = (at: number) => at % 11 === 0 ? 0 : 0x30 + at * 7 % 24 + (at % 2) * 128; // 0, or ±0.5 to ±3.75
const fp8Value = (bits: number) =>
  bits === 0 ? 0 : (bits & 128 ? -1 : 1) * (8 + (bits & 7)) * 2 ** ((bits >> 3 & 15) - 10);
const scaleOf = (block: number) => 2 ** -(block % 5);

/** A stored matrix, or one for each expert, and the values of its elements. */
function fp8Matrix(name: string, shape: readonly number[], scaleDType: "F32" | "F8_E8M0", scaleName: string) {
  const [rows, columns] = shape.slice(-2) as [number, number];
  const count = shape.reduce((a, b) => a * b), blocks = [Math.ceil(rows / 128), Math.ceil(columns / 128)] as const;
  const matrices = count / rows / columns, scaleCount = matrices * blocks[0] * blocks[1];
  const lead = shape.slice(0, -2);
  const scales = scaleDType === "F32"
    ? Float32Array.from({ length: scaleCount }, (_, b) => scaleOf(b))
    : Uint8Array.from({ length: scaleCount }, (_, b) => 127 + Math.log2(scaleOf(b)));
  const values = Array.from({ length: count }, (_, at) => {
    const column = at % columns, row = Math.floor(at / columns) % rows, matrix = Math.floor(at / columns / rows);
    const block = (matrix * blocks[0] + Math.floor(row / 128)) * blocks[1] + Math.floor(column / 128);
    return fp8Value(byteOf(at)) * scaleOf(block);
  });
  const stored: StoredData[] = [
    { name, dtype: "F8_E4M3", shape, data: Uint8Array.from({ length: count }, (_, at) => byteOf(at)) },
    { name: scaleName, dtype: scaleDType, shape: [...lead, ...blocks], data: scales },
  ];
  return { stored, values };
}

for (const [scaleDType, suffix] of [["F32", ".weight_scale_inv"], ["F8_E8M0", ".scale"]] as const) {
  Deno.test(`FP8 weights in several and partial blocks are read with ${scaleDType} scales`, async () => {
    const [hidden, intermediate] = [264, 136];
    const linear = (name: string, shape: readonly number[]) => {
      const full = `model.layers.0.mlp.experts.0.${name}`;
      return fp8Matrix(`${full}.weight`, shape, scaleDType, full + suffix);
    };
    const gate = linear("gate_proj", [intermediate, hidden]), up = linear("up_proj", [intermediate, hidden]);
    const down = linear("down_proj", [hidden, intermediate]);
    const layer = await readOne([...gate.stored, ...up.stored, ...down.stored], hidden);
    assertEquals(layer.dtype, "bf16");
    assertEquals([...layer.gateUpProj.data], [...gate.values, ...up.values]);
    assertEquals([...layer.downProj.data], down.values);
  });
}

Deno.test("FP8 weights of all experts in one tensor are read with the scales of each expert", async () => {
  const [experts, hidden, intermediate] = [2, 136, 132];
  const base = "model.layers.0.mlp.experts.";
  const gateUp = fp8Matrix(
    `${base}gate_up_proj`,
    [experts, 2 * intermediate, hidden],
    "F32",
    `${base}gate_up_proj_scale_inv`,
  );
  const down = fp8Matrix(`${base}down_proj`, [experts, hidden, intermediate], "F32", `${base}down_proj_scale_inv`);
  const router = { name: "model.layers.0.mlp.gate.weight", dtype: "F32", shape: [experts, hidden] };
  const data = new Float32Array(experts * hidden);
  const other = { "model.safetensors": encodeStored([{ ...router, data }, ...gateUp.stored, ...down.stored]) };
  await inDirectory({ other, config: '{"model_type":"qwen3_5_moe","num_experts_per_tok":1}' }, async (directory) => {
    using found = await CheckpointLayer.open(directory);
    const layer = await found.read("f32");
    assertEquals([...layer.gateUpProj.data], gateUp.values);
    assertEquals([...layer.downProj.data], down.values);
  });
});

Deno.test("Pairs of FP4 are read with an exponent for 32 columns, beside a shared expert in bf16", async () => {
  const fp4 = [0, 0.5, 1, 1.5, 2, 3, 4, 6];
  const [hidden, intermediate] = [64, 32];
  const linear = (name: string, [rows, columns]: readonly [number, number]) => {
    const nibble = (at: number) => (at * 5 + (at >> 4)) % 16;
    const exponent = (group: number) => 125 + group % 4;
    const values = Array.from({ length: rows * columns }, (_, at) => {
      const size = fp4[nibble(at) & 7]! * 2 ** (exponent(Math.floor(at / 32)) - 127);
      return nibble(at) & 8 ? -size : size;
    });
    const pairs = Int8Array.from({ length: values.length / 2 }, (_, i) => nibble(2 * i) | nibble(2 * i + 1) << 4);
    const scales = Uint8Array.from({ length: values.length / 32 }, (_, group) => exponent(group));
    const full = `model.layers.0.mlp.experts.0.${name}`;
    const stored: StoredData[] = [
      { name: `${full}.weight`, dtype: "I8", shape: [rows, columns / 2], data: pairs },
      { name: `${full}.scale`, dtype: "F8_E8M0", shape: [rows, columns / 32], data: scales },
    ];
    return { stored, values };
  };
  const gate = linear("w1", [intermediate, hidden]), up = linear("w3", [intermediate, hidden]);
  const down = linear("w2", [hidden, intermediate]);
  const shared = (name: string, shape: readonly [number, number]): StoredData => ({
    ...{ name: `model.layers.0.mlp.shared_experts.${name}.weight`, dtype: "BF16", shape },
    data: new Uint16Array(shape[0] * shape[1]).fill(0x3f80),
  });
  const layer = await readOne([
    ...[...gate.stored, ...up.stored, ...down.stored],
    ...[shared("w1", [2, hidden]), shared("w3", [2, hidden]), shared("w2", [hidden, 2])],
  ], hidden);
  assertEquals(layer.dtype, "bf16");
  assertEquals([...layer.gateUpProj.data], [...gate.values, ...up.values]);
  assertEquals([...layer.downProj.data], down.values);
  assertEquals([...layer.sharedExpert!.downProj.data], Array(2 * hidden).fill(1));
});

Deno.test("MXFP4 blocks of another dtype are refused by name", async () => {
  const blocks = "model.layers.0.mlp.experts.down_proj_blocks";
  await inDirectory({
    tensors: { [blocks]: numbered([E, H, 1, 16]), "model.layers.0.mlp.router.weight": numbered([E, H]) },
  }, async (directory) => {
    const options = { topK: 2, router: "softmax", activation: "swiglu-oai" } as const;
    const open = () => CheckpointLayer.open(directory, options);
    await assertRejects(open, SafetensorsError, `tensor "${blocks}" must be of dtype U8, got F32`);
  });
});
