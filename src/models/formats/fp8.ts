import { all } from "../../concurrently.ts";
import type { StoredDType, StoredTensor } from "../../safetensors/header.ts";
import { elementCount, formatShape } from "../../tensor/tensor.ts";
import { e4m3 as values } from "../../tensor/small_floats.ts";
import type { Fp8Format } from "../../tensor/packed_tensor.ts";
import { bytesOf, floats, scaleDTypes, toF32 } from "./numbers.ts";
import {
  describe,
  type Format,
  matrices,
  readPartOf,
  readTo,
  tensorError,
  type TensorSource,
  wordScales,
} from "./stored_weight.ts";

/** What the name of the scales ends with, after the weight's name and after the linear layer's. */
const afterWeight = ["_scale_inv", "_scale"];
const afterLinear = [
  ".weight_scale_inv",
  ".weight_scale",
  ".scale",
  ".scales",
  "_scale_inv",
  "_weight_scale",
  "_scale",
];

/**
 * Finds FP8 weights, E4M3, with one scale for a block (DeepSeek-V3, Qwen3), a group of a row (MXFP8), a row or column, a
 * matrix, or all (compressed-tensors, ModelOpt). The scales multiply, also those that are named "inv".
 */
export const fp8: Format = async (source, linear, { block }) => {
  const name = [`${linear}.weight`, linear].find((name) => source.has(name));
  const weight = name === undefined ? undefined : asFp8(await source.describe(name), await wordScales(source, linear));
  if (name === undefined || weight === undefined) return undefined;
  const scaleName = [...afterWeight.map((end) => name + end), ...afterLinear.map((end) => linear + end)]
    .find((name) => source.has(name));
  if (scaleName === undefined) {
    throw tensorError(source, name, `must be of dtype ${floats.join(", ")}, or have scales, got F8_E4M3 without`);
  }
  if (weight.shape.length < 2) {
    throw tensorError(source, name, `must have shape [out, in] or [E, out, in], got ${formatShape(weight.shape)}`);
  }
  const scales = await describe(source, scaleName, scaleDTypes);
  const [rows, columns] = weight.shape.slice(-2) as [number, number];
  const count = matrices(weight.shape);
  const { perMatrix, bands, runs, band, run } = scaleGrid(source, weight, scales, count, block);
  return {
    format: "fp8",
    shape: weight.shape,
    dtype: "bf16",
    tensors: [weight, scales],
    isDense: false,
    packing: {
      format: {
        kind: "fp8",
        block: [band, run],
        scale: keptScales[scales.dtype] ?? "f32",
      },
      async read(index, target) {
        const readScales = async () => {
          const bytes = await readPartOf(source, scales, perMatrix ? index : 0, perMatrix ? count : 1);
          spread(keptScales[scales.dtype] ? bytes : bytesOf(toF32(bytes, scales.dtype)), bands, target.scales, {
            rows,
            band,
          });
        };
        await all([readTo(source, weight, index, target.values), readScales()]);
      },
    },
    async decode(index) {
      const bytes = await readPartOf(source, weight, index, count);
      const scale = toF32(await readPartOf(source, scales, perMatrix ? index : 0, perMatrix ? count : 1), scales.dtype);
      const target = new Float32Array(bytes.length);
      for (let r = 0, at = 0; r < rows; r++) {
        const first = Math.floor(r / band) * runs;
        for (let b = 0; b < runs; b++) {
          const own = scale[first + b]!, end = r * columns + Math.min(columns, (b + 1) * run);
          for (; at < end; at++) target[at] = values[bytes[at]!]! * own;
        }
      }
      return target;
    },
  };
};

/** Describes a tensor of E4M3 numbers. MLX stores four of them in a word, with a scale for each 32. */
function asFp8(tensor: StoredTensor, scales: StoredTensor | undefined): StoredTensor | undefined {
  if (tensor.dtype === "F8_E4M3") return tensor;
  const columns = 4 * (tensor.shape.at(-1) ?? 0);
  if (tensor.dtype !== "U32" || columns !== 32 * (scales?.shape.at(-1) ?? 0)) return undefined;
  return { ...tensor, dtype: "F8_E4M3", shape: [...tensor.shape.slice(0, -1), columns] };
}

/** The types of scales that are kept as they are. */
const keptScales: { readonly [Stored in StoredDType]?: Fp8Format["scale"] } = {
  F32: "f32",
  BF16: "bf16",
  F8_E8M0: "e8m0",
  U8: "e8m0",
};

/** Copies the scales of bands of rows. A target with more bands gets copies of each. */
function spread(
  from: Uint8Array,
  bands: number,
  target: Uint8Array,
  { rows, band }: { readonly rows: number; readonly band: number },
): void {
  const size = from.length / bands, count = target.length / size;
  for (let i = 0; i < count; i++) {
    const source = count === bands ? i : Math.floor(i * rows / count / band);
    target.set(from.subarray(source * size, (source + 1) * size), i * size);
  }
}

/** The scales of a matrix. */
interface ScaleGrid {
  /** Whether each of several matrices has its own. */
  readonly perMatrix: boolean;
  /** The number of scales along the rows, and the number of rows of each. */
  readonly bands: number;
  readonly band: number;
  /** The number of scales along the columns, and the number of columns of each. */
  readonly runs: number;
  readonly run: number;
}

/** Returns the shape [bands, runs] for [bands, 1, runs, 1], as ModelOpt stores the scales of blocks. */
function withoutOnes(shape: readonly number[]): readonly number[] {
  const [bands = 0, rows, runs = 0, columns] = shape;
  return shape.length === 4 && rows === 1 && columns === 1 ? [bands, runs] : shape;
}

/** Finds out what each scale is for: how many a matrix has along its rows and columns. */
function scaleGrid(
  source: TensorSource,
  weight: StoredTensor,
  scales: StoredTensor,
  count: number,
  block: readonly [number, number],
): ScaleGrid {
  const [rows, columns] = weight.shape.slice(-2) as [number, number];
  const perMatrix = weight.shape.length === 3 && scales.shape[0] === count;
  const rest = withoutOnes(perMatrix ? scales.shape.slice(1) : scales.shape);
  const total = elementCount(rest);
  const [bands, runs] = total === 1 ? [1, 1] : rest.length === 1 ? [rest[0]!, 1] : rest.slice(-2) as [number, number];
  const blocks = [Math.ceil(rows / block[0]), Math.ceil(columns / block[1])];
  const sizeOfScale = (): readonly [number, number] | undefined => {
    if (bands * runs !== total) return undefined;
    if (bands === blocks[0] && runs === blocks[1]) return block;
    const isWhole = (bands === 1 || bands === rows) && (runs === 1 || runs === columns); // for all, for a row or for a column
    const hasGroups = bands === rows && columns % runs === 0; // each row has groups (MXFP8)
    return isWhole || hasGroups ? [rows / bands, columns / runs] : undefined;
  };
  const size = sizeOfScale();
  if (size) return { perMatrix, bands, runs, band: Math.min(size[0], rows), run: Math.min(size[1], columns) };
  throw tensorError(
    source,
    scales.name,
    `must have one scale for all of ${
      formatShape([rows, columns])
    }, for each row or group of a row, or for each block of ` +
      `${formatShape(block)}, which is shape ${formatShape(blocks)}, got ${formatShape(scales.shape)}`,
  );
}
