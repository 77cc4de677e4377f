// Integers packed into 32-bit words: GPTQ, AWQ, compressed-tensors, MLX.
import { all } from "../../concurrently.ts";
import type { StoredTensor } from "../../safetensors/header.ts";
import type { Int4Format, PackedParts } from "../../tensor/packed_tensor.ts";
import { formatShape } from "../../tensor/tensor.ts";
import { floats, toF32 } from "./numbers.ts";
import {
  describe,
  expectShape,
  type Format,
  matrices,
  type Quantization,
  readPartOf,
  readTo,
  type StoredPacking,
  type StoredWeight,
  tensorError,
  type TensorSource,
} from "./stored_weight.ts";

const words = ["I32", "U32"] as const;

async function readWords(source: TensorSource, tensor: StoredTensor, index = 0, count = 1): Promise<Int32Array> {
  return new Int32Array((await readPartOf(source, tensor, index, count)).buffer);
}

async function readFloats(source: TensorSource, tensor: StoredTensor, index = 0, count = 1): Promise<Float32Array> {
  return toF32(await readPartOf(source, tensor, index, count), tensor.dtype);
}

/** The bits of integers that fill words evenly. */
function checkBits(source: TensorSource, tensor: StoredTensor, bits: number): void {
  if ([2, 4, 8].includes(bits)) return;
  throw tensorError(source, tensor.name, `has ${bits} bits per weight, expected 2, 4 or 8`);
}

/** Column `j` of eight in a word has its four bits at this place. Source: AutoAWQ, awq/utils/packing_utils.py. */
const awqPlaces = [0, 4, 1, 5, 2, 6, 3, 7];

/**
 * Finds GPTQ and AWQ weights, which are stored [in, out]. GPTQ packs neighbors along the input into a word and stores its
 * zero points less one. AWQ packs neighbors along the output, in an order of its own.
 */
export const qweight: Format = (source, linear, quantization) =>
  source.has(`${linear}.qweight`) ? openQweight(source, linear, quantization) : undefined;

async function openQweight(
  source: TensorSource,
  linear: string,
  { bits: known, groupSize, checkpointFormat }: Quantization,
): Promise<StoredWeight> {
  const packed = await describe(source, `${linear}.qweight`, words);
  const scales = await describe(source, `${linear}.scales`, floats);
  const zeros = await describe(source, `${linear}.qzeros`, words);
  const order = source.has(`${linear}.g_idx`) ? await describe(source, `${linear}.g_idx`, words) : undefined;
  expectMatrix(source, packed, "[in, out] with several numbers in a word");
  expectMatrix(source, scales, "[groups, out]");
  expectMatrix(source, zeros, "[groups, out] with several numbers in a word");
  const [groups, out] = scales.shape as [number, number];
  const zeroWords = zeros.shape[1]!;
  const isKnown = known !== undefined && zeroWords === Math.ceil(out * known / 32);
  const bits = isKnown ? known : Math.round(32 * zeroWords / out); // GPTQModel has layers with other bits
  checkBits(source, packed, bits);
  const perWord = 32 / bits, mask = 2 ** bits - 1;
  const isAwq = packed.shape[1] !== out;
  const inputs = packed.shape[0]! * (isAwq ? 1 : perWord);
  expectShape(source, packed, isAwq ? [inputs, Math.ceil(out / perWord)] : [inputs / perWord, out]);
  expectShape(source, zeros, [groups, Math.ceil(out / perWord)]);
  if (order) expectShape(source, order, [inputs]);
  const run = groupOfInputs(source, scales, inputs, groups, groupSize);
  if (isAwq && bits !== 4) throw tensorError(source, packed.name, `has ${bits} bits per weight, expected 4 for AWQ`);
  const zeroOffset = isAwq || checkpointFormat === "gptq_v2" ? 0 : 1;
  const place = (column: number) => (isAwq ? awqPlaces[column % 8]! : column % perWord) * bits;
  /** Extracts a number from the words. */
  const numberAt = (q: Int32Array, i: number, o: number) =>
    isAwq
      ? q[i * (out / 8) + (o >> 3)]! >>> place(o) & mask
      : q[Math.floor(i / perWord) * out + o]! >>> (i % perWord * bits) & mask;
  const zeroAt = (z: Int32Array, group: number, o: number) =>
    (z[group * zeroWords + Math.floor(o / perWord)]! >>> place(o) & mask) + zeroOffset;
  return {
    format: isAwq ? "awq" : "gptq",
    shape: [out, inputs],
    dtype: scales.dtype === "BF16" ? "bf16" : "f16",
    tensors: [packed, scales, zeros, ...order ? [order] : []],
    isDense: false,
    packing: int4Packing(bits, inputs, run, {
      scales,
      integers: "zero-points",
      fits: order && (async () => isInOrder(await readWords(source, order), run)),
      async read(target) {
        const q = await readWords(source, packed), z = await readWords(source, zeros);
        const scale = await readPartOf(source, scales, 0, 1), size = scale.length / (groups * out);
        for (let o = 0, at = 0; o < out; o++) {
          for (let i = 0; i < inputs; i += 2) target.values[at++] = numberAt(q, i, o) | numberAt(q, i + 1, o) << 4;
          for (let group = 0; group < groups; group++) {
            const from = (group * out + o) * size;
            target.scales.set(scale.subarray(from, from + size), (o * groups + group) * size);
            if (target.zeroPoints) target.zeroPoints[o * groups + group] = zeroAt(z, group, o);
          }
        }
      },
    }),
    async decode() {
      const [q, z, scale] = [
        await readWords(source, packed),
        await readWords(source, zeros),
        await readFloats(source, scales),
      ];
      const groupOf = order && await readWords(source, order);
      const target = new Float32Array(out * inputs);
      for (let i = 0; i < inputs; i++) {
        const group = groupOf?.[i] ?? Math.floor(i / run);
        for (let o = 0; o < out; o++) {
          target[o * inputs + i] = (numberAt(q, i, o) - zeroAt(z, group, o)) * scale[group * out + o]!;
        }
      }
      return target;
    },
  };
}

/** Finds weights of compressed-tensors, "pack-quantized": [out, in / 8] words with an offset, scales per group of inputs. */
export const packed: Format = (source, linear, quantization) =>
  source.has(`${linear}.weight_packed`) ? openPacked(source, linear, quantization) : undefined;

async function openPacked(
  source: TensorSource,
  linear: string,
  { bits: known, groupSize, hasZeroPoints }: Quantization,
): Promise<StoredWeight | undefined> {
  const name = `${linear}.weight_packed`;
  if ((await source.describe(name)).dtype !== "I32") return undefined;
  const weight = await describe(source, name, words);
  const scales = await describe(source, `${linear}.weight_scale`, floats);
  const size = await describe(source, `${linear}.weight_shape`, ["I64", "I32"]);
  const zeros = source.has(`${linear}.weight_zero_point`)
    ? await describe(source, `${linear}.weight_zero_point`, words)
    : undefined;
  if (hasZeroPoints && !zeros) {
    throw tensorError(source, `${linear}.weight_zero_point`, 'is missing, but config.json has "symmetric": false');
  }
  const order = source.has(`${linear}.weight_g_idx`)
    ? await describe(source, `${linear}.weight_g_idx`, words)
    : undefined;
  expectMatrix(source, weight, "[out, in] with several numbers in a word");
  expectShape(source, size, [2]);
  const sizes = await readPartOf(source, size, 0, 1);
  const [out, inputs] = Array.from(
    size.dtype === "I64" ? new BigInt64Array(sizes.buffer) : new Int32Array(sizes.buffer),
    Number,
  ) as [number, number];
  const rowWords = weight.shape[1]!, widths = [4, 8].filter((bits) => bits === (known ?? bits));
  const bits = widths.find((bits) => Math.ceil(inputs * bits / 32) === rowWords);
  if (bits === undefined || weight.shape[0] !== out) {
    throw tensorError(
      source,
      name,
      `must have ${widths.join(" or ") || "4 or 8"} bits for each weight of [${out}, ${inputs}], got shape ${
        formatShape(weight.shape)
      }`,
    );
  }
  const groups = scales.shape.length === 2 ? scales.shape[1]! : 1;
  expectShape(source, scales, scales.shape.length === 2 ? [out, groups] : [out]);
  const run = groupOfInputs(source, scales, inputs, groups, groupSize);
  if (groupSize !== undefined && run !== groupSize) {
    throw tensorError(
      source,
      scales.name,
      `must have one scale for each ${groupSize} of ${inputs} inputs, as config.json says, got ${groups} for each output`,
    );
  }
  const perWord = 32 / bits, mask = 2 ** bits - 1, offset = 2 ** (bits - 1);
  if (zeros) expectShape(source, zeros, [Math.ceil(out / perWord), groups]);
  const zeroAt = (z: Int32Array, o: number, group: number) =>
    z[Math.floor(o / perWord) * groups + group]! >>> (o % perWord * bits) & mask;
  return {
    format: `int${bits}`,
    shape: [out, inputs],
    dtype: "bf16",
    tensors: [weight, scales, size, ...zeros ? [zeros] : [], ...order ? [order] : []],
    isDense: false,
    packing: int4Packing(bits, inputs, run, {
      scales,
      integers: zeros ? "zero-points" : "offset",
      fits: order && (async () => isInOrder(await readWords(source, order), run)),
      async read(target) {
        await all([readTo(source, weight, 0, target.values), readTo(source, scales, 0, target.scales)]);
        if (!zeros) return;
        const z = await readWords(source, zeros);
        target.zeroPoints?.forEach((_, at, points) => points[at] = zeroAt(z, Math.floor(at / groups), at % groups));
      },
    }),
    async decode() {
      const [q, scale] = [await readWords(source, weight), await readFloats(source, scales)];
      const z = zeros && await readWords(source, zeros), groupOf = order && await readWords(source, order);
      const target = new Float32Array(out * inputs);
      for (let o = 0, at = 0; o < out; o++) {
        for (let i = 0; i < inputs; i++, at++) {
          const group = groupOf?.[i] ?? Math.floor(i / run);
          const value = q[o * rowWords + Math.floor(i / perWord)]! >>> (i % perWord * bits) & mask;
          const zero = z ? zeroAt(z, o, group) : offset;
          target[at] = (value - zero) * scale[o * groups + group]!;
        }
      }
      return target;
    },
  };
}

/** Checks that a tensor has two dimensions. */
function expectMatrix(source: TensorSource, { name, shape }: StoredTensor, expected: string): void {
  if (shape.length === 2 && shape.every((size) => size > 0)) return;
  throw tensorError(source, name, `must have shape ${expected}, got ${formatShape(shape)}`);
}

/** Returns how many neighbors along the input share a scale. The last group may be short only if config.json has the size. */
function groupOfInputs(
  source: TensorSource,
  { name, shape }: StoredTensor,
  inputs: number,
  groups: number,
  known: number | undefined,
): number {
  if (known !== undefined && Math.ceil(inputs / known) === groups) return known;
  if (groups > 0 && inputs % groups === 0) return inputs / groups;
  throw tensorError(
    source,
    name,
    `must have one scale for each group of ${inputs} inputs, all of one size, got shape ${formatShape(shape)}`,
  );
}

/** Describes how integers stay packed: four bits each, in groups of neighbors that are a multiple of 32. */
function int4Packing(
  bits: number,
  inputs: number,
  group: number,
  { scales, integers, fits, read }: {
    readonly scales: StoredTensor;
    readonly integers: Int4Format["integers"];
    readonly fits?: StoredPacking["fits"];
    read(target: PackedParts<Uint8Array>): Promise<void>;
  },
): StoredPacking | undefined {
  if (bits !== 4 || group % 32 !== 0 || inputs % group !== 0) return undefined;
  const scale = scales.dtype === "F16" ? "f16" : scales.dtype === "BF16" ? "bf16" : "f32";
  return { format: { kind: "int4", group, integers, scale }, fits, read: (_index, target) => read(target) };
}

/** Returns whether groups are runs of neighbors. */
function isInOrder(groupOf: Int32Array, group: number): boolean {
  return groupOf.every((own, i) => own === Math.floor(i / group));
}

/** Finds weights of MLX, "affine": [.., out, words], with a scale and an offset for each group of inputs. */
export const mlx: Format = (source, linear, quantization) =>
  source.has(`${linear}.scales`) && source.has(`${linear}.biases`) ? openMlx(source, linear, quantization) : undefined;

async function openMlx(
  source: TensorSource,
  linear: string,
  { bits, groupSize, overrides }: Quantization,
): Promise<StoredWeight> {
  const weight = await describe(source, `${linear}.weight`, words);
  const scales = await describe(source, `${linear}.scales`, floats);
  const biases = await describe(source, `${linear}.biases`, floats);
  const own = overrides[linear];
  const width = own?.bits ?? bits ?? 4, run = own?.groupSize ?? groupSize ?? 64;
  if (![2, 3, 4, 5, 6, 8].includes(width)) {
    throw tensorError(source, weight.name, `has ${width} bits per weight, expected 2, 3, 4, 5, 6 or 8`);
  }
  const mask = 2 ** width - 1, inputs = weight.shape.at(-1)! * 32 / width;
  const shape = [...weight.shape.slice(0, -1), inputs], count = matrices(shape);
  expectShape(source, scales, [...shape.slice(0, -1), Math.ceil(inputs / run)]);
  expectShape(source, biases, scales.shape);
  return {
    format: `mlx-int${width}`,
    shape,
    dtype: scales.dtype === "F16" ? "f16" : "bf16",
    tensors: [weight, scales, biases],
    isDense: false,
    async decode(index) {
      const q = await readWords(source, weight, index, count);
      const [scale, bias] = [
        await readFloats(source, scales, index, count),
        await readFloats(source, biases, index, count),
      ];
      const target = new Float32Array(q.length * 32 / width);
      for (let group = 0, at = 0; group < scale.length; group++) { // rows are whole numbers of groups
        const [factor, offset] = [scale[group]!, bias[group]!];
        for (const end = at + run; at < end; at++) {
          const word = Math.floor(at * width / 32), place = at * width % 32; // an integer may span two words
          const rest = place + width > 32 ? q[word + 1]! << (32 - place) : 0;
          target[at] = ((q[word]! >>> place | rest) & mask) * factor + offset;
        }
      }
      return target;
    },
  };
}
