// The images that have passed `yamoe verify` on a GPU. Their digests are recorded: changed kernels are not verified.
import { manifest } from "./built/manifest.ts";

/** A pass of `yamoe verify --backend cuda`. */
export interface Verification {
  readonly image: string;
  readonly sha256: string;
  readonly device: string;
  readonly driver: string;
  /** The date, as year-month-day. */
  readonly date: string;
}

/** All passes. */
export const verifications: readonly Verification[] = [
  {
    image: "sm_90",
    sha256: "5f5466d095e9da26e87b3e5d1fea3de3ab043bc619b7b1fed53edd6b15609e69",
    device: "NVIDIA H100 80GB HBM3",
    driver: "CUDA 13.0",
    date: "2026-11-28",
  },
];

/** Whether the shipped image has passed on a GPU. */
export function isVerified(image: string): boolean {
  return verifications.some((pass) => pass.image === image && pass.sha256 === manifest.images[image]!.sha256);
}
