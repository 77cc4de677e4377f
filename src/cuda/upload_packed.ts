// Uploads packed weights. On Hopper, they are laid out in blocks; see plan/packed_layout.ts.
import type { BackendTensor, PackedBackendTensor } from "../backend/backend.ts";
import { uploadParts } from "../backend/upload_packed.ts";
import { checkPacked } from "../tensor/packed.ts";
import type { PackedTensor } from "../tensor/packed_tensor.ts";
import { firstAbove } from "../tensor/scan.ts";
import type { Tensor, TensorData } from "../tensor/tensor.ts";
import type { DeviceBuffer } from "./driver/memory.ts";
import type { CudaHost } from "./ops.ts";
import { blocksBytes, maximumScale, planLayout, usesBlocks } from "./plan/packed_layout.ts";
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
  return usesBlocks(tensor.format, host.kernels) ? uploadBlocks(tensor, host) : uploadParts(tensor, upload);
}

/**
 * Uploads a packed tensor in blocks. Both parts of the result are the blocks, which contain values and scales. The device
 * memory never contains more than the blocks and one piece of the parts.
 */
function uploadBlocks(
  tensor: PackedTensor,
  { allocate, launch, stream }: CudaHost<CudaTensor>,
): PackedBackendTensor {
  checkPacked("tensor", tensor);
  const { format, shape, parts: { values, scales } } = tensor;
  const tooLarge = firstAbove(scales.data, maximumScale);
  if (tooLarge >= 0) {
    throw new RangeError(
      `scales must be at most ${maximumScale} (2) on this GPU, got ${scales.data[tooLarge]} at element ${tooLarge}`,
    );
  }
  const [experts = 0, ...matrix] = shape;
  const valueBytes = values.data.byteLength / experts, scaleBytes = scales.data.byteLength / experts;
  const atOnce = Math.max(1, Math.floor(Math.min(experts * copyPart, copyBytes / valueBytes)));

  using cleanup = new DisposableStack();
  const blocks = cleanup.use(allocate("u8", [blocksBytes(format, shape)]));
  using copies = new DisposableStack();
  const valueCopy = copies.use(allocate("u8", [atOnce * valueBytes]));
  const scaleCopy = copies.use(allocate("u8", [atOnce * scaleBytes]));
  for (let first = 0; first < experts; first += atOnce) {
    const count = Math.min(atOnce, experts - first);
    write(valueCopy.buffer, values.data, first * valueBytes, count * valueBytes);
    write(scaleCopy.buffer, scales.data, first * scaleBytes, count * scaleBytes);
    launch(planLayout(format, [count, ...matrix], {
      values: valueCopy.pointer,
      scales: scaleCopy.pointer,
      blocks: blocks.pointer + BigInt(blocksBytes(format, [first, ...matrix])),
    }));
  }
  stream.synchronize(); // the host's data may change afterwards
  const second = cleanup.use(blocks.share());
  const owned = cleanup.move();
  return { format, shape, parts: { values: blocks, scales: second }, [Symbol.dispose]: () => owned.dispose() };
}

/** Queues a copy of some bytes of host data. */
function write(target: DeviceBuffer, { buffer, byteOffset }: TensorData, start: number, bytes: number): void {
  target.write(new Uint8Array(buffer, byteOffset + start, bytes) as BufferSource);
}
