// Weights of a layer that stay in the packed format of the checkpoint.
import { SafetensorsError } from "../../safetensors/error.ts";
import { quote } from "../../text.ts";
import { checkElements } from "../../tensor/packed.ts";
import {
  mapParts,
  type PackedFormat,
  type PackedParts,
  type PackedSpec,
  type PackedTensor,
} from "../../tensor/packed_tensor.ts";
import { type DType, elementCount, type Tensor } from "../../tensor/tensor.ts";
import type { StoredPacking } from "../formats/stored_weight.ts";
import { concurrently } from "../../concurrently.ts";
import type { LayerTarget } from "./layer_target.ts";
import { readsAtOnce } from "./read_part.ts";
import type { PlannedTensor } from "./tensor_planner.ts";

/** A planned weight of experts. */
export interface PlannedWeight extends PlannedTensor {
  /** How the weight stays packed. Absent if it must be decoded. */
  readonly packed?: PackedPlan | undefined;
}

/** The matrices of a packed weight, in order, and the format of the whole. */
export interface PackedPlan {
  readonly format: PackedFormat;
  readonly matrices: readonly { readonly packing: StoredPacking; readonly index: number; readonly name: string }[];
}

/**
 * Finds out whether a weight with one row for each output can stay packed: all of its matrices have the same format.
 *
 * @param planned The weight.
 * @param isSplit Whether the first half of the rows are gates, and the other half their up rows.
 * @returns The weight, with a plan if it can.
 */
export function planWeight(planned: PlannedTensor, isSplit: boolean): PlannedWeight {
  const [experts = 0, outputs = 0] = planned.shape;
  const matrices = planned.parts.flatMap(({ weight: { packing, tensors }, first, count, isTransposed }) =>
    packing && !isTransposed
      ? Array.from({ length: count }, (_, i) => ({ packing, index: first + i, name: tensors[0]?.name ?? "" }))
      : []
  );
  const [one] = matrices;
  const isWhole = planned.parts.reduce((sum, { count }) => sum + count, 0) === matrices.length;
  if (!one || !isWhole) return planned;
  const { format } = one.packing, text = JSON.stringify(format);
  if (matrices.some(({ packing }) => JSON.stringify(packing.format) !== text)) return planned;
  const whole = formatOfWhole(format, matrices.length / experts, outputs);
  if (!whole) return planned;
  return { ...planned, packed: { format: isSplit ? { ...whole, gateUpLayout: "concatenated" } : whole, matrices } };
}

/** The format of experts that consist of one matrix, or of two that follow each other. */
function formatOfWhole(format: PackedFormat, matrices: number, outputs: number): PackedFormat | undefined {
  if (matrices === 1) return format;
  if (matrices !== 2) return undefined;
  if (format.kind === "nvfp4") return { ...format, globalScales: 2 };
  if (format.kind !== "fp8") return format;
  const [rows, columns] = format.block, half = outputs / 2;
  return { ...format, block: [rows >= half ? half : greatestDivisor(rows, half), columns] };
}

/** The greatest common divisor. */
function greatestDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestDivisor(b, a % b);
}

/** Returns whether the elements of all matrices allow that they stay packed. */
export async function fitsPacked({ matrices }: PackedPlan): Promise<boolean> {
  for (const { packing } of matrices) if (packing.fits && !await packing.fits()) return false;
  return true;
}

/**
 * Reads a packed weight.
 *
 * @param plan The plan.
 * @param shape [E, out, in].
 * @param dtype The dtype of the activations.
 * @param target Makes the weight.
 * @param onRead Called after each matrix with the number of its elements.
 * @returns What the target returned, with what is known of the weight's elements.
 * @throws {SafetensorsError} If a scale is not finite, or a weight in MXFP4 is not a number of f16 for activations in f16.
 */
export async function readPacked<Packed extends PackedSpec>(
  { format, matrices }: PackedPlan,
  shape: readonly number[],
  dtype: DType,
  target: Pick<LayerTarget<unknown, Packed>, "packed">,
  onRead: (elements: number) => void,
): Promise<Packed> {
  const [experts = 0, ...matrix] = shape, each = matrices.length / experts;
  let exactInF16 = true;
  const weight = await target.packed({ format, shape }, async (piece, first) => {
    const count = (piece.shape[0] ?? 0) * each, own = matrices.slice(first * each, first * each + count);
    await concurrently(own.entries(), readsAtOnce, async ([i, { packing, index, name }]) => {
      const parts = nthOf(piece, i, count);
      await packing.read(index, mapParts(parts, bytesOf).parts);
      // While other matrices are read, this thread would be idle.
      if (!check(format, name, parts.parts)) exactInF16 = false;
      if (format.kind === "mxfp4" && !exactInF16 && dtype === "f16") {
        throw keepError(format, name, "some of its weights are not numbers of f16: use bf16 or f32");
      }
      onRead(elementCount(matrix) / each);
    });
  });
  return format.kind === "mxfp4" ? { ...weight, format: { ...weight.format, exactInF16 } } : weight;
}

/** Returns one of `count` equal parts of all elements. */
function nthOf({ format, shape, parts }: PackedTensor, index: number, count: number): PackedTensor {
  return mapParts({ format, shape, parts }, ({ dtype, data }) => {
    const size = data.length / count;
    return { dtype, shape: [size], data: data.subarray(index * size, (index + 1) * size) };
  });
}

function bytesOf({ data }: Tensor): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** Checks the elements of a matrix. Errors name its tensor. Returns whether its weights are numbers of f16. */
function check(format: PackedFormat, name: string, parts: PackedParts): boolean {
  try {
    return checkElements(format, parts);
  } catch (error) {
    throw error instanceof RangeError ? keepError(format, name, error.message) : error;
  }
}

function keepError({ kind }: PackedFormat, name: string, problem: string): SafetensorsError {
  return new SafetensorsError(`Cannot keep tensor ${quote(name)} in ${kind}: ${problem}`);
}
