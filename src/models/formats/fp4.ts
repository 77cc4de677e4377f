import { all } from "../../concurrently.ts";
import type { StoredDType, StoredTensor } from "../../safetensors/header.ts";
import { elementCount, formatShape } from "../../tensor/tensor.ts";
import { e2m1 as values } from "../../tensor/small_floats.ts";
import { bytesOf, scaleDTypes, toF32 } from "./numbers.ts";
import {
  describe,
  expectShape,
  type Format,
  matrices,
  readPartOf,
  readTo,
  type StoredPacking,
  type StoredWeight,
  tensorError,
  type TensorSource,
  wordScales,
} from "./stored_weight.ts";

/** The names and dtypes of one way to store pairs of FP4 numbers. */
interface Naming {
  readonly format: "mxfp4" | "nvfp4";
  readonly pairs: string;
  readonly dtypes: readonly StoredDType[];
  readonly scales: string;
  /** One more scale for a whole matrix, which multiplies or divides. */
  readonly global?: { readonly name: string; readonly divides: boolean };
}

/** The ways in use, in the order in which they are tried. */
const namings: readonly Naming[] = [
  { format: "mxfp4", pairs: "_blocks", dtypes: ["U8"], scales: "_scales" }, // gpt-oss
  {
    format: "nvfp4", // ModelOpt
    pairs: ".weight",
    dtypes: ["U8"],
    scales: ".weight_scale",
    global: { name: ".weight_scale_2", divides: false },
  },
  {
    format: "nvfp4", // ModelOpt: gpt-oss, and Llama 4, whose matrices are [in / 2, out]
    pairs: "",
    dtypes: ["U8"],
    scales: "_weight_scale",
    global: { name: "_weight_scale_2", divides: false },
  },
  {
    format: "nvfp4", // compressed-tensors
    pairs: ".weight_packed",
    dtypes: ["U8"],
    scales: ".weight_scale",
    global: { name: ".weight_global_scale", divides: true },
  },
  { format: "mxfp4", pairs: ".weight_packed", dtypes: ["U8"], scales: ".weight_scale" }, // compressed-tensors
  { format: "mxfp4", pairs: ".weight", dtypes: ["I8", "U8"], scales: ".scale" }, // DeepSeek-V4
  { format: "mxfp4", pairs: ".weight", dtypes: ["U8"], scales: ".weight_scale" }, // Quark
  { format: "mxfp4", pairs: ".weight", dtypes: ["U32"], scales: ".scales" }, // MLX: four pairs in a word
  { format: "nvfp4", pairs: ".weight", dtypes: ["U32"], scales: ".scales" },
];

/** The number of inputs with one scale. */
const groups = { mxfp4: 32, nvfp4: 16 };

/** Finds FP4 weights: E2M1 pairs, the low four bits first, with one scale for each 32 (MXFP4) or 16 (NVFP4) inputs. */
export const fp4: Format = async (source, linear) => {
  for (const naming of namings) {
    const name = linear + naming.pairs;
    if (!source.has(name) || naming.global && !source.has(linear + naming.global.name)) continue;
    if (naming.pairs !== "_blocks") {
      if (!source.has(linear + naming.scales)) continue;
      const pairs = await source.describe(name);
      if (!naming.dtypes.includes(pairs.dtype)) continue;
      if (pairs.dtype === "U32" && !fitsWords(pairs, await wordScales(source, linear), naming)) continue;
    }
    return await open(source, linear, naming);
  }
  return undefined;
};

/** Returns whether words of MLX, whose formats have the same names, have scales of a format. */
function fitsWords(words: StoredTensor, scales: StoredTensor | undefined, { format }: Naming): boolean {
  return 8 * (words.shape.at(-1) ?? 0) === groups[format] * (scales?.shape.at(-1) ?? 0);
}

async function open(source: TensorSource, linear: string, naming: Naming): Promise<StoredWeight> {
  const pairs = await describe(source, linear + naming.pairs, naming.dtypes);
  const scales = await describe(source, linear + naming.scales, scaleDTypes);
  const global = naming.global && await describe(source, linear + naming.global.name, ["F32", "BF16", "F16"]);
  const isBlocks = naming.pairs === "_blocks"; // [E, out, in / 32, 16]
  if (isBlocks && pairs.shape.length !== 4) {
    throw tensorError(source, pairs.name, "must have shape [E, out, in / 32, 16]");
  }
  const isInOut = naming.pairs === "" && pairs.shape.at(-1) === scales.shape.at(-1);
  const oriented = isInOut ? swapLast(pairs.shape) : pairs.shape;
  const rowsOf = isBlocks ? oriented.slice(0, -2) : oriented.slice(0, -1);
  const perElement = pairs.dtype === "U32" ? 8 : 2;
  const columns = perElement * (isBlocks ? oriented.at(-1)! * oriented.at(-2)! : oriented.at(-1)!);
  const group = groups[naming.format];
  const scaleDType = group === 16 && scales.dtype === "U8" ? "F8_E4M3" : scales.dtype; // MLX
  const scaleShape = [...rowsOf, Math.ceil(columns / group)];
  expectShape(source, scales, isInOut ? swapLast(scaleShape) : scaleShape);
  const shape = [...rowsOf, columns], count = matrices(shape), rows = rowsOf.at(-1)!;
  const perMatrix = global !== undefined && elementCount(global.shape) === count && count > 1;
  if (global && !perMatrix && elementCount(global.shape) !== 1) {
    throw tensorError(
      source,
      global.name,
      `must have one element${count > 1 ? `, or one for each of ${count} experts` : ""}, got shape ${
        formatShape(global.shape)
      }`,
    );
  }
  /** Reads the part of a matrix that `tensor` has, row by row. */
  const readMatrix = async (tensor: StoredTensor, index: number): Promise<Uint8Array<ArrayBuffer>> => {
    const bytes = await readPartOf(source, tensor, index, count);
    return isInOut ? transpose(bytes, rows) : bytes;
  };
  const readMatrixTo = async (tensor: StoredTensor, index: number, target: Uint8Array | undefined) => {
    if (isInOut) target?.set(await readMatrix(tensor, index));
    else await readTo(source, tensor, index, target);
  };
  /** Reads the global scale of a matrix as a factor in f32: the reciprocal of one that divides, as vLLM computes it. */
  const factorOf = async (index: number) => {
    if (!global) return 1;
    const bytes = await readPartOf(source, global, perMatrix ? index : 0, perMatrix ? count : 1);
    const [value = NaN] = toF32(bytes, global.dtype);
    return naming.global?.divides ? Math.fround(1 / value) : value;
  };
  const keptScales = group === 16 ? ["F8_E4M3"] : ["F8_E8M0", "U8"];
  const packing: StoredPacking = {
    format: group === 16 ? { kind: "nvfp4", globalScales: 1 } : { kind: "mxfp4", exactInF16: false },
    read: (index, { values, scales: ofGroups, globalScales }) =>
      all([
        readMatrixTo(pairs, index, values),
        readMatrixTo(scales, index, ofGroups),
        global?.dtype === "F32" && !naming.global?.divides
          ? readTo(source, global, perMatrix ? index : 0, globalScales)
          : factorOf(index).then((factor) => globalScales?.set(bytesOf(Float32Array.of(factor)))),
      ]),
  };
  return {
    format: naming.format,
    shape,
    dtype: "bf16",
    tensors: [pairs, scales, ...global ? [global] : []],
    isDense: false,
    packing: columns % group === 0 && keptScales.includes(scaleDType) ? packing : undefined,
    async decode(index) {
      const bytes = await readMatrix(pairs, index);
      const scale = toF32(await readMatrix(scales, index), scaleDType);
      const factor = await factorOf(index);
      for (let i = 0; i < scale.length; i++) scale[i]! *= factor;
      const target = new Float32Array(2 * bytes.length), runs = Math.ceil(columns / group);
      for (let run = 0, at = 0; run < scale.length; run++) {
        const size = scale[run]!;
        const end = (run + 1) % runs === 0 ? (run + 1) / runs * columns : at + group; // a row's last group may be short
        for (; at < end; at += 2) {
          const pair = bytes[at >> 1]!;
          target[at] = values[pair & 15]! * size;
          target[at + 1] = values[pair >> 4]! * size;
        }
      }
      return target;
    },
  };
}

function swapLast(shape: readonly number[]): readonly number[] {
  return [...shape.slice(0, -2), ...shape.slice(-2).reverse()];
}

/** Transposes a matrix of bytes with so many columns. */
function transpose(bytes: Uint8Array, columns: number): Uint8Array<ArrayBuffer> {
  const rows = bytes.length / columns, target = new Uint8Array(bytes.length);
  for (let c = 0, at = 0; c < columns; c++) {
    for (let r = 0; r < rows; r++, at++) target[at] = bytes[r * columns + c]!;
  }
  return target;
}
