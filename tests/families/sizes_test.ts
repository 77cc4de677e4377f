// Quantized weights whose scales or bits do not fit their sizes, or what config.json says.
import { assertRejects } from "@std/assert";
import { SafetensorsError } from "../../mod.ts";
import { CheckpointLayer } from "../../src/models/checkpoint/checkpoint_layer.ts";
import { type Encodings, makeCheckpoint, writeCheckpoint } from "./checkpoints.ts";
import { fp8Of, gptqOf, nvfp4Of, packedOf } from "./encodings.ts";
import { named } from "./stored_formats.ts";

const published = named("qwen3_moe");
const weights = { num_bits: 4, group_size: 32, strategy: "group", type: "int" };
const compressed = { quantization_config: { config_groups: { group_0: { targets: ["Linear"], weights } } } };
const int4 = { experts: packedOf(32, 4, true) };
const blockSize = { quantization_config: { weight_block_size: [16, 32] } };
const blocks = { experts: fp8Of({ name: ".weight_scale_inv", block: [16, 32], dtype: "F32" }) };

/** A tensor whose shape is replaced, and the message. */
interface Refused {
  readonly encodings: Encodings;
  readonly quantization?: Readonly<Record<string, unknown>>;
  readonly end: string;
  readonly shape: readonly number[];
  readonly message: string;
}

const refused: Readonly<Record<string, Refused>> = {
  "groups of another size than config.json says": {
    encodings: int4,
    quantization: compressed,
    end: "weight_scale",
    shape: [32, 1],
    message: "must have one scale for each 32 of 64 inputs, as config.json says, got 1 for each output",
  },
  "groups of several sizes": {
    encodings: int4,
    end: "weight_scale",
    shape: [32, 3],
    message: "must have one scale for each group of 64 inputs, all of one size, got shape [32, 3]",
  },
  "weights without groups": {
    encodings: int4,
    end: "weight_scale",
    shape: [32, 0],
    message: "must have one scale for each group of 64 inputs, all of one size, got shape [32, 0]",
  },
  "other bits than config.json says": {
    encodings: int4,
    quantization: compressed,
    end: "weight_packed",
    shape: [32, 16],
    message: "must have 4 bits for each weight of [32, 64], got shape [32, 16]",
  },
  "a shape of one number": {
    encodings: int4,
    end: "weight_shape",
    shape: [1],
    message: "must have shape [2], got [1]",
  },
  "GPTQ weights without zero points": {
    encodings: { experts: gptqOf(32) },
    end: "qzeros",
    shape: [2, 0],
    message: "must have shape [groups, out] with several numbers in a word, got [2, 0]",
  },
  "two global scales of one matrix": {
    encodings: { experts: nvfp4Of("compressed-tensors") },
    end: "weight_global_scale",
    shape: [2],
    message: "must have one element, got shape [2]",
  },
  "FP8 weights with scales for blocks of columns only": {
    encodings: blocks,
    quantization: blockSize,
    end: "weight_scale_inv",
    shape: [1, 2],
    message: "or for each block of [16, 32], which is shape [2, 2], got [1, 2]",
  },
  "FP8 weights of one dimension": {
    encodings: blocks,
    quantization: blockSize,
    end: "weight",
    shape: [2048],
    message: "must have shape [out, in] or [E, out, in], got [2048]",
  },
};

for (const [what, { encodings, quantization, end, shape, message }] of Object.entries(refused)) {
  Deno.test(`CheckpointLayer.open() refuses ${what}`, async () => {
    const { tensors } = makeCheckpoint(published, encodings, 3);
    const name = `${published.base}experts.0.up_proj.${end}`, { dtype, bytes, shape: before } = tensors[name]!;
    const count = (sizes: readonly number[]) => sizes.reduce((product, size) => product * size, 1);
    const size = bytes.length / count(before) * count(shape);
    tensors[name] = { dtype, shape, bytes: Uint8Array.from({ length: size }, (_, i) => bytes[i % bytes.length]!) };
    const directory = await Deno.makeTempDir();
    try {
      await writeCheckpoint(directory, published, tensors, quantization);
      const open = () => CheckpointLayer.open(directory, { layer: 1 });
      await assertRejects(open, SafetensorsError, `tensor "${name}" ${message.startsWith("or ") ? "must" : message}`);
      await assertRejects(open, SafetensorsError, message);
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  });
}
