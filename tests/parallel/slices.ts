// Rows of tensors, and the comparison of their bits.
import { isPacked, type PackedTensor } from "../../src/tensor/packed_tensor.ts";
import { type Tensor, tensor } from "../../src/tensor/tensor.ts";

/** Returns some of the first dimension of a tensor. */
export function sliceRows(value: Tensor | PackedTensor, { start, end }: { start: number; end: number }): Tensor {
  if (isPacked(value)) throw new TypeError("Cannot slice a packed tensor");
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
