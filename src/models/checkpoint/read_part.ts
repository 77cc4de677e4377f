// Reads weights of a checkpoint to their places in a layer's tensors.
import { bytesPerElement, convert, elementCount, type Tensor, tensor, viewOf } from "../../tensor/tensor.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { Part } from "./tensor_planner.ts";

/** Elements that are converted at a time. */
const pieceSize = 1 << 20;

/** Returns the number of elements of a part. */
export function partSize({ weight: { shape }, count }: Part): number {
  return count * matrixSize(shape);
}

/** Reads a part to its place. A dense weight of the same dtype is read without a copy. */
export async function readPart(checkpoint: Checkpoint, part: Part, target: Tensor): Promise<void> {
  const { weight, first, count, start, isTransposed } = part;
  const size = matrixSize(weight.shape);
  if (weight.isDense && !isTransposed) {
    return await readDense(checkpoint, part, target.data.subarray(start, start + count * size), target);
  }
  for (let i = 0; i < count; i++) {
    const values = await weight.decode(first + i);
    const [rows, columns] = weight.shape.slice(-2) as [number, number];
    const placed = isTransposed ? transposed(values, rows, columns) : values;
    target.data.set(convert(tensor(placed), target.dtype).data, start + i * size);
  }
}

async function readDense(
  checkpoint: Checkpoint,
  { weight, first }: Part,
  place: Tensor["data"],
  target: Tensor,
): Promise<void> {
  const { name } = weight.tensors[0]!;
  const { dtype } = weight;
  const size = bytesPerElement(dtype), from = first * matrixSize(weight.shape);
  if (dtype === target.dtype) {
    const bytes = new Uint8Array(place.buffer, place.byteOffset, place.byteLength);
    return await checkpoint.readBytes(name, bytes, from * size);
  }
  const memory = new SharedArrayBuffer(Math.min(pieceSize, place.length) * size);
  for (let at = 0; at < place.length; at += pieceSize) {
    const length = Math.min(pieceSize, place.length - at);
    await checkpoint.readBytes(name, new Uint8Array(memory, 0, length * size), (from + at) * size);
    const values = tensor(viewOf(dtype, memory, 0, length), [length], dtype);
    place.set(convert(values, target.dtype).data, at);
  }
}

function matrixSize(shape: readonly number[]): number {
  return elementCount(shape.slice(-2));
}

function transposed(values: Float32Array, rows: number, columns: number): Float32Array {
  return Float32Array.from(values, (_, at) => values[at % rows * columns + Math.floor(at / rows)]!);
}
