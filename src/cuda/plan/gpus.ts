// The GPUs for which `yamoe plan` works without the GPU. Rates are for dense f16 products with f32 accumulation. Sources: NVIDIA's
// datasheets and architecture white papers, and for shared memory the CUDA C++ Programming Guide, "Compute Capabilities".
import type { PlanDevice } from "./product.ts";

/** A GPU and its peak rates. */
export interface Gpu extends PlanDevice {
  readonly name: string;
  /** Bytes per second. */
  readonly bandwidth: number;
  /** Floating-point operations per second. */
  readonly flops: number;
}

const kib = 1024, tera = 1e12;

function gpu(name: string, computeCapability: number, multiprocessors: number, bandwidth: number, flops: number): Gpu {
  const sharedBytes = sharedOf(computeCapability) * kib;
  return { name, computeCapability, multiprocessors, sharedBytes, bandwidth: bandwidth * tera, flops: flops * tera };
}

function sharedOf(computeCapability: number): number {
  if (computeCapability === 75) return 64;
  if (computeCapability === 80) return 164;
  return computeCapability === 90 || computeCapability === 100 ? 228 : 100;
}

/** The GPUs by their names on the command line. */
export const gpus: Readonly<Record<string, Gpu>> = {
  "t4": gpu("NVIDIA T4", 75, 40, 0.32, 65),
  "a100": gpu("NVIDIA A100 80GB SXM", 80, 108, 2.039, 312),
  "rtx3090": gpu("NVIDIA GeForce RTX 3090", 86, 82, 0.936, 71),
  "a10": gpu("NVIDIA A10", 86, 72, 0.6, 125),
  "l4": gpu("NVIDIA L4", 89, 58, 0.3, 121),
  "l40s": gpu("NVIDIA L40S", 89, 142, 0.864, 362),
  "rtx4090": gpu("NVIDIA GeForce RTX 4090", 89, 128, 1.008, 165.2),
  "h100": gpu("NVIDIA H100 SXM", 90, 132, 3.35, 989.4),
  "h100-pcie": gpu("NVIDIA H100 PCIe", 90, 114, 2.0, 756),
  "h200": gpu("NVIDIA H200 SXM", 90, 132, 4.8, 989.4),
  "b200": gpu("NVIDIA B200", 100, 148, 8.0, 2250),
  "rtx5090": gpu("NVIDIA GeForce RTX 5090", 120, 170, 1.792, 209.5),
};
