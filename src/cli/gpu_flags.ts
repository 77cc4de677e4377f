// The flags that say which GPU a figure is for; several commands have them.
import { type Gpu, gpus } from "../cuda/plan/gpus.ts";
import { choice, type Flag, type FlagValues } from "./flags.ts";

function rate(value: string, summary: string): Flag<number> {
  return {
    value,
    summary,
    parse(text) {
      if (/^\d+(\.\d+)?$/.test(text) && Number(text) > 0) return Number(text) * 1e12;
      throw new Error("a positive number");
    },
  };
}

/** Flags for a GPU and its rates. */
export const gpuFlags = {
  gpu: choice("NAME", `Which GPU: ${Object.keys(gpus).join(", ")} (default: h100)`, Object.keys(gpus)),
  bandwidth: rate("TB/s", "Memory bandwidth to assume instead of the GPU's"),
  rate: rate("TFLOP/s", "Rate of f16 products to assume instead of the GPU's"),
};

/** The GPU that the flags name, with their rates. */
export function gpuFromFlags({ gpu = "h100", bandwidth, rate }: FlagValues<typeof gpuFlags>): Gpu {
  const known = gpus[gpu]!;
  return { ...known, bandwidth: bandwidth ?? known.bandwidth, flops: rate ?? known.flops };
}
