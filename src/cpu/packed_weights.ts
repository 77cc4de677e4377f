// Packed weights as the tasks see them.
import type { PackedFormat, PackedTensor } from "../tensor/packed_tensor.ts";
import type { DType, Tensor } from "../tensor/tensor.ts";
import {
  E4M3,
  E8M0,
  PACKED_E2M1,
  PACKED_E4M3,
  PACKED_OFFSET,
  PACKED_SIGNED,
  PACKED_UNSIGNED,
  U8,
} from "../wasm/codes.ts";
import { elements, wasmDType } from "../wasm/elements.ts";
import type { PackedWeights } from "../wasm/tasks/product.ts";

const integers = { signed: PACKED_SIGNED, offset: PACKED_OFFSET, "zero-points": PACKED_UNSIGNED } as const;

/** Describes packed weights, which are rounded to the dtype of the activations. */
export function packedWeights({ format, shape, parts }: PackedTensor, activations: DType): PackedWeights {
  const { values, scales, globalScales, zeroPoints } = parts;
  const [matrices = 0, , inputs = 0] = shape;
  const isPairs = format.kind !== "fp8";
  return {
    matrices,
    ...codesOf(format, scales),
    isPairs,
    dtype: wasmDType(format.kind === "mxfp4" ? "f32" : activations), // numbers in MXFP4 are exact in all dtypes
    values: bytes(values),
    valueBytes: isPairs ? inputs / 2 : inputs,
    scales: scales.dtype === "u8" ? bytes(scales) : elements(scales.data),
    ...blockOf(format),
    u8: U8,
    globalScales: globalScales?.data as Float32Array | undefined,
    zeroPoints: zeroPoints && bytes(zeroPoints),
  };
}

function bytes({ data }: Tensor): Uint8Array {
  return data as Uint8Array;
}

/** The codes of the numbers and of the scales. */
function codesOf(format: PackedFormat, { dtype }: Tensor): Pick<PackedWeights, "kind" | "scaleType"> {
  switch (format.kind) {
    case "mxfp4":
      return { kind: PACKED_E2M1, scaleType: E8M0 };
    case "nvfp4":
      return { kind: PACKED_E2M1, scaleType: E4M3 };
    case "int4":
      return { kind: integers[format.integers], scaleType: wasmDType(dtype) };
    case "fp8":
      return { kind: PACKED_E4M3, scaleType: format.scale === "e8m0" ? E8M0 : wasmDType(dtype) };
  }
}

/** The rows and the columns that share a scale. */
function blockOf(format: PackedFormat): Pick<PackedWeights, "band" | "group"> {
  switch (format.kind) {
    case "mxfp4":
      return { band: 1, group: 32 };
    case "nvfp4":
      return { band: 1, group: 16 };
    case "int4":
      return { band: 1, group: format.group };
    case "fp8":
      return { band: format.block[0], group: format.block[1] };
  }
}
