// Jobs with packed weights.
import type { ExpertsOptions } from "../../../src/contract/experts.ts";
import { experts } from "../../../src/ops/experts.ts";
import { variants } from "../../packed_inputs.ts";
import { randomInputs } from "../../random_inputs.ts";
import { SmallRandom } from "../../small_random.ts";
import { backendOf, bytes, type Job } from "./job.ts";

/** A format, and the call that has weights in it. */
interface PackedJob {
  readonly name: string;
  readonly tileRows: number;
  readonly tokens: number;
  /** The multiple of 32 that the hidden size is. Half of it is the intermediate size. */
  readonly steps?: number;
  readonly options?: ExpertsOptions;
}

function packedJob({ name, tileRows, tokens, steps = 8, options }: PackedJob, seed: number): Job {
  return {
    name: `experts, ${name}, ${JSON.stringify({ tileRows, tokens, steps, ...options })}`,
    run: async (library) => {
      const { make } = variants.find((variant) => variant.name === name)!;
      const random = new SmallRandom(seed), [E, H, I] = [2, 32 * steps, 16 * steps];
      const inputs = randomInputs({ T: tokens, H, I, E, K: 1 }, seed, {
        ...{ dtype: "bf16", weightLayout: "out-in", extra: seed % 2 ? "input weights" : "none" },
      });
      const gateUpProj = make(random, [E, 2 * I, H], 0.1), downProj = make(random, [E, H, I], 0.1);
      const backend = await backendOf(library, tileRows);
      const call = { weightLayout: "out-in", ...options, backend } as const;
      return [bytes(await experts({ ...inputs, gateUpProj, downProj }, call))];
    },
  };
}

const concatenated = { gateUpLayout: "concatenated" } as const;

/** Jobs of the kernels that read packed weights as they are published. */
export const storedJobs: readonly Job[] = ([
  { name: "mxfp4", tileRows: 64, tokens: 20 },
  { name: "nvfp4", tileRows: 64, tokens: 70, options: concatenated },
  { name: "nvfp4, halves", tileRows: 128, tokens: 9, steps: 6 },
  { name: "int4 of 32", tileRows: 64, tokens: 20, steps: 6, options: concatenated },
  { name: "int4 of 128, signed", tileRows: 64, tokens: 20 },
  { name: "int4 of 32, zero points", tileRows: 128, tokens: 130, steps: 6 },
  { name: "int4 of a row", tileRows: 64, tokens: 20, options: { expertCapacity: 5 } },
  { name: "fp8 of blocks", tileRows: 64, tokens: 20, steps: 9 },
  { name: "fp8 of blocks, bf16", tileRows: 128, tokens: 20, options: concatenated },
  { name: "fp8 of blocks, e8m0", tileRows: 64, tokens: 300 },
  { name: "fp8 of rows", tileRows: 64, tokens: 20 },
  { name: "fp8 of small blocks", tileRows: 64, tokens: 20 }, // decoded before the products
] satisfies PackedJob[]).map(packedJob);

/** Jobs of Hopper's kernels with packed weights. */
export const packedJobs: readonly Job[] = [16, 64, 160, 192].flatMap((tileRows) =>
  [9, tileRows + 30, 2 * tileRows + 5].map((tokens, i) =>
    packedJob({ name: "mxfp4", tileRows, tokens, steps: 4 + 2 * i, options: i === 1 ? { expertCapacity: 25 } : {} }, i)
  )
);
