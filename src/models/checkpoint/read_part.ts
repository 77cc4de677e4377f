// Reading a tensor of a checkpoint to its place in a layer's: straight there where the dtypes agree, else by pieces.
import { dtypesByStored } from "../../safetensors/safetensors.ts";
import { bytesPerElement, convert, elementCount, type Tensor, tensor, viewOf } from "../../tensor/tensor.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { Part } from "./layer_tensors.ts";
import { dequantizeFp8, dequantizeMxfp4 } from "./quantized.ts";

/** Elements that are converted at a time. */
const piece = 1 << 20;

/** Reads a part. */
export async function readPart(checkpoint: Checkpoint, part: Part, target: Tensor): Promise<void> {
  const count = elementCount(part.shape);
  const place = target.data.subarray(part.start, part.start + count);
  if (part.scales) return await readQuantized(checkpoint, part, { ...target, data: place });
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

async function readQuantized(checkpoint: Checkpoint, part: Part, target: Tensor): Promise<void> {
  const { columns: run, rows: band, name, stored } = part.scales!;
  const columns = part.shape.at(-1)!;
  const rows = elementCount(part.shape) / columns;
  const scaleColumns = Math.ceil(columns / run);
  const isMxfp4 = part.stored === "F4";
  const step = Math.max(1, Math.floor(piece / columns / band)) * band;
  for (let row = 0; row < rows; row += step) {
    const count = Math.min(step, rows - row);
    const bytes = new Uint8Array(count * columns / (isMxfp4 ? 2 : 1));
    await checkpoint.readBytes(part.name, bytes, row * columns / (isMxfp4 ? 2 : 1));
    const scaleDType = dtypesByStored[stored], scaleSize = scaleDType ? bytesPerElement(scaleDType) : 1;
    const scaleCount = Math.ceil(count / band) * scaleColumns;
    const memory = new SharedArrayBuffer(scaleCount * scaleSize), scaleBytes = new Uint8Array(memory);
    await checkpoint.readBytes(name, scaleBytes, row / band * scaleColumns * scaleSize);
    const values = new Float32Array(count * columns);
    if (!scaleDType) dequantizeMxfp4(bytes, scaleBytes, values);
    else {
      const stored = tensor(viewOf(scaleDType, memory, 0, scaleCount), [scaleCount], scaleDType);
      const scales = convert(stored, "f32").data as Float32Array;
      for (let r = 0; r < count; r++) {
        const scaleRow = Math.floor(r / band) * scaleColumns;
        dequantizeFp8(
          bytes.subarray(r * columns, (r + 1) * columns),
          scales.subarray(scaleRow, scaleRow + scaleColumns),
          run,
          values.subarray(r * columns, (r + 1) * columns),
        );
      }
    }
    write(tensor(values), target, target.data.subarray(row * columns, (row + count) * columns));
  }
}

/** Converts numbers to a tensor's dtype, into a part of it. */
function write(values: Tensor, { dtype }: Pick<Tensor, "dtype">, place: Tensor["data"]): void {
  place.set(convert(values, dtype).data);
}
