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
    sha256: "2660fa49d1806cd68af62173898d8968b70a7345cc3d2cf41d4dddcd24cd3872",
    device: "NVIDIA H200",
    driver: "CUDA 13.0",
    date: "2026-11-30",
  },
];

/** Whether the shipped image has passed on a GPU. */
export function isVerified(image: string): boolean {
  return verifications.some((pass) => pass.image === image && pass.sha256 === manifest.images[image]!.sha256);
}
