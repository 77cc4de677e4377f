/**
 * Decodes packed tensors on the host.
 *
 * @module
 */
import { fromBfloat16, toBfloat16 } from "./bfloat16.ts";
import { checkPacked } from "./packed.ts";
import type { PackedTensor } from "./packed_tensor.ts";
import { e2m1, e4m3, e8m0 } from "./small_floats.ts";
import { describeValue, type DType, floatDTypes, type Tensor, zeros } from "./tensor.ts";

/**
 * Decodes a packed tensor to a dense one. The value of each weight is computed in f32 and rounded once to the dtype; see
 * {@linkcode PackedFormat}.
 *
 * @param weight The packed tensor. It does not change.
 * @param dtype The element type of the result: `"f16"`, `"bf16"` or `"f32"`.
 * @returns [E, out, in], in shared memory, as {@linkcode zeros} makes it.
 * @throws {TypeError} If the tensor is malformed, or the dtype is not supported.
 * @throws {RangeError} If a weight in `"mxfp4"` is not a number of f16, but f16 is asked for.
 *
 * @example Usage
 * ```ts
 * import { decode, packed, tensor } from "@yamoe/yamoe";
 * import { assertEquals } from "@std/assert";
 *
 * const values = tensor(new Uint8Array([0x38, 0x40, 0xb8, 0x30]), [1, 2, 2]); // 1, 2, -1, 0.5
 * const scales = tensor(new Float32Array([10, 100]), [1, 2, 1]); // one for each row
 * const weight = packed("fp8", { values, scales }, [1, 2, 2]);
 * assertEquals(decode(weight, "f32").data, new Float32Array([10, 20, -100, 50]));
 * ```
 */
export function decode(weight: PackedTensor, dtype: DType): Tensor {
  checkPacked("weight", weight);
  if (!floatDTypes.includes(dtype)) {
    throw new TypeError(`dtype must be one of ${floatDTypes.join(", ")}, got ${describeValue(dtype)}`);
  }
  if (dtype === "f16" && weight.format.kind === "mxfp4" && !weight.format.exactInF16) {
    throw new RangeError("Cannot decode weight to f16: some of its weights in mxfp4 are not numbers of f16");
  }
  const target = zeros(dtype, weight.shape);
  const [experts = 0, outputs = 0, inputs = 0] = weight.shape;
  const row = new Float32Array(inputs);
  const decodeRow = rowDecoder(weight);
  for (let expert = 0, at = 0; expert < experts; expert++) {
    for (let output = 0; output < outputs; output++, at += inputs) {
      decodeRow(expert, output, row);
      if (dtype !== "bf16") target.data.set(row, at);
      else toBfloat16(row, (target.data as Uint16Array).subarray(at, at + inputs));
    }
  }
  return target;
}

/** Returns a function that computes the values of the weights of one output of an expert, in f32. */
export function rowDecoder({ format, shape, parts }: PackedTensor): (
  expert: number,
  output: number,
  target: Float32Array,
) => void {
  const [, outputs = 0, inputs = 0] = shape;
  const values = parts.values.data, zeros = parts.zeroPoints?.data, global = parts.globalScales?.data;
  const scale = scaleReader(parts.scales, format.kind === "nvfp4" ? e4m3 : e8m0);
  if (format.kind === "fp8") {
    const [rows, columns] = format.block;
    const bands = Math.ceil(outputs / rows), runs = Math.ceil(inputs / columns);
    return (expert, output, target) => {
      const first = (expert * outputs + output) * inputs;
      for (let run = 0, i = 0; run < runs; run++) {
        const factor = scale((expert * bands + Math.floor(output / rows)) * runs + run);
        for (const end = Math.min(inputs, i + columns); i < end; i++) {
          target[i] = at(e4m3, at(values, first + i)) * factor;
        }
      }
    };
  }
  const group = format.kind === "mxfp4" ? 32 : format.kind === "nvfp4" ? 16 : format.group;
  const isSigned = format.kind === "int4" && format.integers === "signed";
  const numbers = format.kind !== "int4"
    ? e2m1
    : Float32Array.from({ length: 16 }, (_, q) => isSigned && q > 7 ? q - 16 : q);
  const zeroPoint = format.kind === "int4" && format.integers === "offset" ? 8 : 0;
  const globals = format.kind === "nvfp4" ? format.globalScales : 0;
  return (expert, output, target) => {
    const row = expert * outputs + output;
    const own = global && globals ? at(global, expert * globals + Math.floor(output * globals / outputs)) : 1;
    for (let g = 0, i = 0; i < inputs; g++) {
      const index = row * (inputs / group) + g;
      const factor = Math.fround(scale(index) * own), zero = zeros ? at(zeros, index) : zeroPoint;
      for (const end = i + group; i < end; i += 2) {
        const pair = at(values, (row * inputs + i) / 2);
        target[i] = (at(numbers, pair & 15) - zero) * factor;
        target[i + 1] = (at(numbers, pair >> 4) - zero) * factor;
      }
    }
  };
}

/** Returns a function that reads a scale as a number. Scales of eight bits are looked up in a table. */
function scaleReader({ dtype, data }: Tensor, table: Float32Array): (index: number) => number {
  if (dtype === "u8") return (index) => at(table, at(data, index));
  if (dtype !== "bf16") return (index) => at(data, index);
  const wide = new Float32Array(data.length);
  fromBfloat16(data as Uint16Array, wide);
  return (index) => at(wide, index);
}

function at(values: ArrayLike<number>, index: number): number {
  return values[index] ?? NaN;
}
