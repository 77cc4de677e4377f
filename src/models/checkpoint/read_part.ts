// Reads a tensor of a checkpoint into its part of a layer's tensor: without a copy if the dtypes agree, else in pieces.
import { dtypesByStored } from "../../safetensors/safetensors.ts";
import { bytesPerElement, convert, elementCount, type Tensor, tensor, viewOf } from "../../tensor/tensor.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { decodeExponents, decodeFp4, decodeFp8, scaleRow } from "./quantized.ts";
import type { Part, Scales } from "./tensor_planner.ts";

/** Elements that are converted at a time. */
const piece = 1 << 20;

/** Reads a part into the tensor that it belongs to. */
export async function readPart(checkpoint: Checkpoint, part: Part, target: Tensor): Promise<void> {
  const count = elementCount(part.shape);
  const place = target.data.subarray(part.start, part.start + count);
  if (part.scales) return await readQuantized(checkpoint, part, part.scales, { ...target, data: place });
  const dtype = dtypesByStored[part.stored]!;
  const size = bytesPerElement(dtype);
  if (dtype === target.dtype) {
    return await checkpoint.readBytes(part.name, new Uint8Array(place.buffer, place.byteOffset, place.byteLength));
  }
  const memory = new SharedArrayBuffer(Math.min(piece, count) * size);
  for (let start = 0; start < count; start += piece) {
    const length = Math.min(piece, count - start);
    await checkpoint.readBytes(part.name, new Uint8Array(memory, 0, length * size), start * size);
    write(tensor(viewOf(dtype, memory, 0, length), [length], dtype), target, place.subarray(start, start + length));
  }
}

/** Reads a quantized part, one matrix after the other, a band of rows at a time. */
async function readQuantized(checkpoint: Checkpoint, part: Part, scales: Scales, target: Tensor): Promise<void> {
  const [rows, columns] = part.shape.slice(-2) as [number, number];
  const matrices = elementCount(part.shape) / rows / columns;
  const scaleRows = Math.ceil(rows / scales.rows), scaleColumns = Math.ceil(columns / scales.columns);
  const perByte = part.format === "fp4" ? 2 : 1;
  const step = Math.max(1, Math.floor(piece / columns / scales.rows)) * scales.rows;
  for (let m = 0; m < matrices; m++) {
    for (let row = 0; row < rows; row += step) {
      const count = Math.min(step, rows - row);
      const start = (m * rows + row) * columns;
      const bytes = new Uint8Array(count * columns / perByte);
      await checkpoint.readBytes(part.name, bytes, start / perByte);
      const values = part.format === "fp4" ? decodeFp4(bytes) : decodeFp8(bytes);
      const bands = Math.ceil(count / scales.rows);
      const firstBand = m * scaleRows + row / scales.rows;
      const factors = await readScales(checkpoint, scales, firstBand * scaleColumns, bands * scaleColumns);
      for (let r = 0; r < count; r++) {
        const band = Math.floor(r / scales.rows) * scaleColumns;
        scaleRow(
          values.subarray(r * columns, (r + 1) * columns),
          factors.subarray(band, band + scaleColumns),
          scales.columns,
        );
      }
      write(tensor(values), target, target.data.subarray(start, start + values.length));
    }
  }
}

async function readScales(
  checkpoint: Checkpoint,
  { name, stored }: Scales,
  start: number,
  count: number,
): Promise<Float32Array> {
  const dtype = dtypesByStored[stored];
  const size = dtype ? bytesPerElement(dtype) : 1;
  const memory = new SharedArrayBuffer(count * size), bytes = new Uint8Array(memory);
  await checkpoint.readBytes(name, bytes, start * size);
  if (!dtype) return decodeExponents(bytes);
  return convert(tensor(viewOf(dtype, memory, 0, count), [count], dtype), "f32").data as Float32Array;
}

/** Converts numbers to a tensor's dtype and stores them in a part of it. */
function write(values: Tensor, { dtype }: Pick<Tensor, "dtype">, place: Tensor["data"]): void {
  place.set(convert(values, dtype).data);
}
