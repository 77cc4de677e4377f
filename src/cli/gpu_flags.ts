// The flags for a GPU and its rates. Several commands have them.
import { type Gpu, gpus } from "../cuda/plan/gpus.ts";
import { choice, type FlagValues, positive } from "./flags.ts";

/** Flags for a GPU and its rates. */
export const gpuFlags = {
  gpu: choice("NAME", "GPU (default: h100)", Object.keys(gpus)),
  bandwidth: positive("TB/s", "Memory bandwidth to use instead of the GPU's"),
  rate: positive("TFLOP/s", "Rate of f16 products to use instead of the GPU's"),
};

/** Returns the GPU that the flags name, with their rates. */
export function gpuFromFlags({ gpu = "h100", bandwidth, rate }: FlagValues<typeof gpuFlags>): Gpu {
  const known = gpus[gpu];
  if (!known) throw new RangeError(`Unknown GPU "${gpu}"`);
  return {
    ...known,
    bandwidth: bandwidth === undefined ? known.bandwidth : bandwidth * 1e12,
    flops: rate === undefined ? known.flops : rate * 1e12,
  };
}
