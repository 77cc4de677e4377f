// Uploads packed weights. On Hopper, they are laid out in blocks; see plan/packed_layout.ts.
import type { BackendTensor, PackedBackendTensor } from "../backend/backend.ts";
import { uploadParts } from "../backend/upload_packed.ts";
import { checkPacked } from "../tensor/packed.ts";
import { mapParts, type PackedTensor } from "../tensor/packed_tensor.ts";
import { firstAbove, firstHugeBf16 } from "../tensor/scan.ts";
import type { Tensor, TensorData } from "../tensor/tensor.ts";
import type { DeviceBuffer } from "./driver/memory.ts";
import type { CudaHost } from "./ops.ts";
import { type BlockLayout, blocksBytes, findLayout, maximumScale, planLayout } from "./plan/packed_layout.ts";
import type { CudaTensor } from "./tensor.ts";

/** A copy to the device contains as many experts as fit in this many bytes and in this part of the tensor, at least one. */
const copyBytes = 32 * 2 ** 20, copyPart = 1 / 32;

/**
 * Uploads a packed tensor: in blocks if the kernels read them, or else part by part.
 *
 * @param upload Uploads one part as it is.
 * @throws {TypeError} If the tensor is malformed.
 * @throws {RangeError} If a scale is too large for the kernels, or the allocation fails.
 */
export function uploadPacked(
  tensor: PackedTensor,
  host: CudaHost<CudaTensor>,
  upload: (part: Tensor) => BackendTensor,
): PackedBackendTensor {
  const layout = findLayout(tensor.format, tensor.shape, host.kernels);
  return layout ? uploadBlocks(tensor, layout, host) : uploadParts(tensor, upload);
}

/**
 * Uploads a packed tensor in blocks. Both parts of the result are the blocks, which contain values and scales. The device
 * memory never contains more than the blocks and one piece of the parts.
 */
function uploadBlocks(
  tensor: PackedTensor,
  layout: BlockLayout,
  { allocate, launch, stream }: CudaHost<CudaTensor>,
): PackedBackendTensor {
  checkPacked("tensor", tensor);
  const { format, shape, parts: { values } } = tensor;
  checkScales(tensor);
  const [experts = 0, ...matrix] = shape;
  const valueBytes = values.data.byteLength / experts;
  const atOnce = Math.max(1, Math.floor(Math.min(experts * copyPart, copyBytes / valueBytes)));

  using cleanup = new DisposableStack();
  const blocks = cleanup.use(allocate("u8", [blocksBytes(layout, shape)]));
  using copies = new DisposableStack();
  const pieces = mapParts(tensor, ({ data }) => {
    const bytes = data.byteLength / experts; // of an expert
    return { data, bytes, copy: copies.use(allocate("u8", [atOnce * bytes])) };
  });
  const { parts } = mapParts(pieces, ({ copy }) => copy.pointer);
  for (let first = 0; first < experts; first += atOnce) {
    const count = Math.min(atOnce, experts - first);
    mapParts(pieces, ({ data, bytes, copy }) => write(copy.buffer, data, first * bytes, count * bytes));
    const target = blocks.pointer + BigInt(blocksBytes(layout, [first, ...matrix]));
    launch(planLayout(format, layout, [count, ...matrix], parts, target));
  }
  stream.synchronize(); // the host's data may change afterwards
  const second = cleanup.use(blocks.share());
  const owned = cleanup.move();
  return { format, shape, parts: { values: blocks, scales: second }, [Symbol.dispose]: () => owned.dispose() };
}

/**
 * Checks that the kernels can decode each scale. They multiply those of integers in bf16 by up to 64.
 *
 * @throws {RangeError} If a scale is too large.
 */
export function checkScales({ format, parts: { scales: { data } } }: PackedTensor): void {
  if (format.kind === "mxfp4") {
    const i = firstAbove(data, maximumScale);
    if (i < 0) return;
    throw new RangeError(`scales must be at most ${maximumScale} (2) on this GPU, got ${data[i]} at element ${i}`);
  }
  const i = format.kind === "int4" && format.scale === "bf16" ? firstHugeBf16(data) : -1;
  if (i >= 0) throw new RangeError(`scales must be below 2^121 on this GPU, got a larger one at element ${i}`);
}

/** Queues a copy of some bytes of host data. */
function write(target: DeviceBuffer, { buffer, byteOffset }: TensorData, start: number, bytes: number): void {
  target.write(new Uint8Array(buffer, byteOffset + start, bytes) as BufferSource);
}
