// Rows of tensors, and the comparison of their bits.
import { mapWeight, type PackedTensor } from "../../src/tensor/packed_tensor.ts";
import { type Tensor, tensor } from "../../src/tensor/tensor.ts";

/** Returns some experts of a weight. */
export function sliceExperts(
  weight: Tensor | PackedTensor,
  range: { start: number; end: number },
): Tensor | PackedTensor {
  const sliced = mapWeight(weight, (part: Tensor) => sliceRows(part, range));
  return { ...sliced, shape: [range.end - range.start, ...weight.shape.slice(1)] };
}

/** Returns some of the first dimension of a tensor. */
export function sliceRows(value: Tensor, { start, end }: { start: number; end: number }): Tensor {
  const { data, dtype, shape } = value;
  const [, ...rest] = shape;
  const width = rest.reduce((product, length) => product * length, 1);
  return tensor(data.slice(start * width, end * width), [end - start, ...rest], dtype);
}

/** Returns whether two tensors have the same bits. */
export function sameBits(a: Tensor, b: Tensor): boolean {
  const bytes = ({ data }: Tensor) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const [x, y] = [bytes(a), bytes(b)];
  return x.length === y.length && x.every((byte, i) => byte === y[i]);
}
