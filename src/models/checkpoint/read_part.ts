// Reads weights of a checkpoint to their places in a layer's tensors.
import {
  bytesPerElement,
  convert,
  type DType,
  elementCount,
  tensor,
  type TensorData,
  viewOf,
} from "../../tensor/tensor.ts";
import type { StoredWeight } from "../formats/stored_weight.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { concurrently } from "../../concurrently.ts";
import type { Part } from "./tensor_planner.ts";

/** How many weights are read at the same time. */
export const readsAtOnce = 8;

/** Elements that are converted at a time. */
const pieceSize = 1 << 20;

/** A range of a tensor's elements in memory. */
export interface Piece {
  readonly data: TensorData;
  readonly dtype: DType;
  /** The tensor's element at which the range begins. */
  readonly start: number;
}

/** Returns the number of elements of a part. */
export function partSize({ weight: { shape }, count }: Part): number {
  return count * matrixSize(shape);
}

/**
 * Reads all parts of a tensor that overlap a range of its elements. A dense weight of the same dtype is read without a copy.
 *
 * @param onRead Called with the number of elements that have been read.
 */
export async function readPiece(
  checkpoint: Checkpoint,
  parts: readonly Part[],
  piece: Piece,
  onRead: (elements: number) => void,
): Promise<void> {
  await concurrently(rangesOf(parts, piece), readsAtOnce, async ({ part, from, to }) => {
    const target = piece.data.subarray(from - piece.start, to - piece.start);
    const read = isCopied(part) ? readDense : readDecoded;
    await read(checkpoint, part, from - part.start, { ...piece, data: target });
    onRead(to - from);
  });
}

/** Whether the elements of a part are in the same order in the file. */
function isCopied({ weight, isTransposed }: Part): boolean {
  return weight.isDense && !isTransposed;
}

/** Divides a piece into ranges of single parts. Ranges that are copied are short, so that progress is visible. */
function* rangesOf(
  parts: readonly Part[],
  { start, data }: Piece,
): Generator<{ part: Part; from: number; to: number }> {
  for (const part of parts) {
    const end = Math.min(part.start + partSize(part), start + data.length);
    const step = isCopied(part) ? 16 * pieceSize : end;
    for (let from = Math.max(part.start, start); from < end; from += step) {
      yield { part, from, to: Math.min(from + step, end) };
    }
  }
}

/** The matrix of a weight in which the last piece ended. The next piece begins with its rest. */
const unfinished = new WeakMap<StoredWeight, { readonly index: number; readonly values: Float32Array }>();

/** Decodes the matrices that overlap the elements from `from` on. */
async function readDecoded(
  _checkpoint: Checkpoint,
  { weight, first, isTransposed }: Part,
  from: number,
  { data, dtype }: Piece,
): Promise<void> {
  const size = matrixSize(weight.shape), end = from + data.length;
  const [rows, columns] = weight.shape.slice(-2) as [number, number];
  for (let i = Math.floor(from / size); i * size < end; i++) {
    const index = first + i, begun = unfinished.get(weight);
    let placed = begun?.index === index ? begun.values : undefined;
    if (!placed) {
      const values = await weight.decode(index);
      placed = isTransposed ? transposed(values, rows, columns) : values;
    }
    if (end < (i + 1) * size) unfinished.set(weight, { index, values: placed });
    else unfinished.delete(weight);
    const [start, stop] = [Math.max(from - i * size, 0), Math.min(end - i * size, size)];
    data.set(convert(tensor(placed.subarray(start, stop)), dtype).data, i * size + start - from);
  }
}

async function readDense(
  checkpoint: Checkpoint,
  { weight, first }: Part,
  skipped: number,
  { data, dtype: target }: Piece,
): Promise<void> {
  const { name } = weight.tensors[0]!;
  const { dtype } = weight;
  const size = bytesPerElement(dtype), from = first * matrixSize(weight.shape) + skipped;
  if (dtype === target) {
    return await checkpoint.readBytes(name, new Uint8Array(data.buffer, data.byteOffset, data.byteLength), from * size);
  }
  const memory = new SharedArrayBuffer(Math.min(pieceSize, data.length) * size);
  for (let at = 0; at < data.length; at += pieceSize) {
    const length = Math.min(pieceSize, data.length - at);
    await checkpoint.readBytes(name, new Uint8Array(memory, 0, length * size), (from + at) * size);
    const values = tensor(viewOf(dtype, memory, 0, length), [length], dtype);
    data.set(convert(values, target).data, at);
  }
}

function matrixSize(shape: readonly number[]): number {
  return elementCount(shape.slice(-2));
}

function transposed(values: Float32Array, rows: number, columns: number): Float32Array {
  return Float32Array.from(values, (_, at) => values[at % rows * columns + Math.floor(at / rows)]!);
}
