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
    sha256: "b381556e77a7471109b3df88f3b059b7f2c3c98b4871f91a80edf3755301b2b2",
    device: "NVIDIA H200",
    driver: "CUDA 13.0",
    date: "2026-11-29",
  },
];

/** Whether the shipped image has passed on a GPU. */
export function isVerified(image: string): boolean {
  return verifications.some((pass) => pass.image === image && pass.sha256 === manifest.images[image]!.sha256);
}
