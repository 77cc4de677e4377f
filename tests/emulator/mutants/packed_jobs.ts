// Jobs with packed weights.
import { experts } from "../../../src/ops/experts.ts";
import type { Activation } from "../../../src/contract/activations.ts";
import type { DType } from "../../../src/tensor/tensor.ts";
import { extremes, variantNamed } from "../../packed_inputs.ts";
import { fp8Numbers, numbersInputs, numbersOptions, nvfp4Numbers } from "../../packed_numbers.ts";
import { randomInputs, type RandomShape } from "../../random_inputs.ts";
import { SmallRandom } from "../../small_random.ts";
import { backendOf, bytes, type Job } from "./job.ts";

/** A format, and the call that has weights in it. */
interface PackedJob {
  readonly name: string;
  readonly tileRows: number;
  readonly tokens: number;
  /** The multiple of 32 that the hidden size is. Half of it is the intermediate size. */
  readonly steps?: number;
  /** The activations' dtype. Weights for f32 are decoded before the products. */
  readonly dtype?: DType;
  readonly gateUpLayout?: "concatenated";
  readonly activation?: Activation;
  readonly expertCapacity?: number;
  /** Whether all hidden states are zeros, with large weights and no biases: even the smallest number added by mistake shows. */
  readonly zeros?: boolean;
  /** Other sizes than those of {@linkcode steps}, two experts and one expert per token. */
  readonly shape?: Partial<Pick<RandomShape, "H" | "I" | "E" | "K">>;
}

function packedJob(job: PackedJob, seed: number): Job {
  const { name, tileRows, tokens, steps = 8, dtype = "bf16", gateUpLayout, activation, expertCapacity, zeros, shape } =
    job;
  return {
    name: `experts, ${JSON.stringify(job)}`,
    run: async (library) => {
      const { make } = variantNamed(name);
      const random = new SmallRandom(seed);
      const { H, I, E, K } = { H: 32 * steps, I: 16 * steps, E: 2, K: 1, ...shape };
      const inputs = randomInputs({ T: tokens, H, I, E, K }, seed, {
        ...{ dtype, weightLayout: "out-in", bias: !zeros, extra: seed % 2 ? "input weights" : "none" },
      });
      if (zeros) inputs.hiddenStates.data.fill(0);
      const order = gateUpLayout ? { gateUpLayout } : {};
      const size = zeros ? 100 : 0.1;
      const gateUpProj = make(random, [E, 2 * I, H], size, order), downProj = make(random, [E, H, I], size);
      const backend = await backendOf(library, tileRows);
      const call = { weightLayout: "out-in", ...order, activation, expertCapacity, backend } as const;
      return [bytes(await experts({ ...inputs, gateUpProj, downProj }, call))];
    },
  };
}

/** Jobs with every number and every scale of eight bits. */
function extremeJobs(maximumScale: number): readonly Job[] {
  return extremes(maximumScale).map((weights, i): Job => ({
    name: `experts, all numbers or scales of ${weights.downProj.format.kind}, ${i}`,
    run: async (library) => {
      const call = { weightLayout: "out-in", activation: "silu", backend: await backendOf(library, 64) } as const;
      const inputs = randomInputs({ T: 20, H: 256, I: 64, E: 1, K: 1 }, 1, {
        ...{ dtype: "bf16", weightLayout: "out-in", bias: false }, // a bias would hide small values
      });
      return [bytes(await experts({ ...inputs, ...weights }, call))];
    },
  }));
}

/** Jobs with each number of a format on Hopper. */
const numbersJobs: readonly Job[] = ([
  { name: "nvfp4", dtype: "bf16", make: (random: SmallRandom) => nvfp4Numbers(random, [-108, -10]) },
  { name: "nvfp4", dtype: "f16", make: (random: SmallRandom) => nvfp4Numbers(random, [-24, -10]) },
  { name: "fp8 of rows", dtype: "bf16", make: (random: SmallRandom) => fp8Numbers(random, [-64, 6], 1) },
  { name: "fp8", dtype: "f16", make: (random: SmallRandom) => fp8Numbers(random, [-20, -4], 64) },
] as const).map(({ name, dtype, make }) => ({
  name: `experts, each number of ${name}, ${dtype}`,
  run: async (library) => {
    const inputs = numbersInputs(make(new SmallRandom(1)), dtype);
    return [bytes(await experts(inputs, { ...numbersOptions, backend: await backendOf(library, 64) }))];
  },
}));

/** Jobs of the kernels that read packed weights as they are published. */
export const storedJobs: readonly Job[] = [
  ...([
    { name: "mxfp4", tileRows: 64, tokens: 20 },
    { name: "nvfp4", tileRows: 64, tokens: 70, gateUpLayout: "concatenated" },
    { name: "nvfp4, halves", tileRows: 128, tokens: 9, steps: 6 },
    { name: "int4 of 32", tileRows: 64, tokens: 20, steps: 6, gateUpLayout: "concatenated" },
    { name: "int4 of 128, signed", tileRows: 64, tokens: 20 },
    { name: "int4 of 32, zero points", tileRows: 128, tokens: 130, steps: 6 },
    { name: "int4 of a row", tileRows: 64, tokens: 20, expertCapacity: 5 },
    { name: "fp8 of blocks", tileRows: 64, tokens: 20, steps: 9 },
    { name: "fp8 of blocks, bf16", tileRows: 128, tokens: 20, gateUpLayout: "concatenated" },
    { name: "fp8 of blocks, e8m0", tileRows: 64, tokens: 300 },
    { name: "fp8 of rows", tileRows: 64, tokens: 20 },
    { name: "fp8 of small blocks", tileRows: 64, tokens: 20 }, // decoded before the products
    { name: "fp8 of small blocks", tileRows: 16, tokens: 3, steps: 1, dtype: "f32" },
    { name: "nvfp4, halves", tileRows: 16, tokens: 3, steps: 2, dtype: "f32" },
    { name: "int4 of 32", tileRows: 16, tokens: 3, steps: 2, dtype: "f32" },
    { name: "int4 of 128, signed", tileRows: 16, tokens: 3, dtype: "f32" },
    { name: "int4 of 32, zero points", tileRows: 16, tokens: 3, steps: 2, dtype: "f32" },
  ] satisfies PackedJob[]).map(packedJob),
  ...extremeJobs(254),
];

/** Jobs with more steps than a ring has stages, and with missing columns. */
export const longPackedJobs: readonly Job[] = ([
  { name: "mxfp4", tileRows: 16, tokens: 9, shape: { H: 608, I: 352, E: 3, K: 2 } },
  { name: "mxfp4", tileRows: 64, tokens: 60, shape: { H: 2080, I: 32, E: 1 } },
  { name: "mxfp4", tileRows: 192, tokens: 110, shape: { H: 1056, I: 32, E: 1 } },
] satisfies PackedJob[]).map(packedJob);

/** Jobs whose experts have one tile or two. With the second seed they have 12, 16, 14, 12, 9, 16 and 21 rows. */
const sharedJobs = [3, 5].map((seed) =>
  packedJob({ name: "mxfp4", tileRows: 16, tokens: 50, shape: { H: 160, I: 64, E: 7, K: 2 } }, seed)
);
/** More steps than the ring has in two rounds. */
const deepJob = packedJob({ name: "mxfp4", tileRows: 16, tokens: 5, shape: { H: 3392, I: 32, E: 1 } }, 0);

/** Further jobs of the kernel for few rows. If blocks take few tickets, each has rows that other blocks have placed too. */
export const fewRowsJobs: readonly Job[] = [
  ...sharedJobs.flatMap((job, i) =>
    ([[1, 1, 0], [1, 2, 0], [1, 3, 50], [0, 2, 100], [0, 3, 50]] as const).map(([seed, tickets, preempt]) => ({
      ...{ ...job, seed, tickets, preempt },
      name: `${job.name}, ${JSON.stringify({ inputs: i, seed, tickets, preempt })}`,
    }))
  ),
  ...[7, 50].map((preempt) => ({ ...deepJob, name: `${deepJob.name}, preempted every ${preempt} accesses`, preempt })),
  // A whole tile, and a single row.
  ...[16, 1].map((tokens, i) => packedJob({ name: "mxfp4", tileRows: 16, tokens, shape: { H: 32, I: 32, E: 1 } }, i)),
];

/** Jobs of Hopper's kernels with packed weights. */
export const packedJobs: readonly Job[] = [
  ...[16, 64, 160, 192].flatMap((tileRows) =>
    [9, tileRows + 30, 2 * tileRows + 5].map((tokens, i) =>
      packedJob({ name: "mxfp4", tileRows, tokens, steps: 4 + 2 * i, ...(i === 1 && { expertCapacity: 25 }) }, i)
    )
  ),
  ...([
    { name: "mxfp4", tileRows: 16, tokens: 9, steps: 2, dtype: "f16", gateUpLayout: "concatenated" },
    { name: "nvfp4, halves", tileRows: 16, tokens: 9, steps: 2, activation: "relu2" },
    { name: "nvfp4", tileRows: 64, tokens: 20, steps: 2, dtype: "f16" },
    { name: "int4 of 32", tileRows: 16, tokens: 9, steps: 2, gateUpLayout: "concatenated" },
    { name: "int4 of 128, signed", tileRows: 16, tokens: 9 },
    { name: "int4 of 128, zero points", tileRows: 64, tokens: 20 },
    { name: "int4 of 128, zero points", tileRows: 16, tokens: 9, dtype: "f16" },
    { name: "int4 of 32, zero points, f16", tileRows: 16, tokens: 9, steps: 2 },
    { name: "int4 of 32, zero points, f16", tileRows: 64, tokens: 9, steps: 4, dtype: "f16" },
    { name: "int4 of a row", tileRows: 64, tokens: 9, steps: 2 },
    { name: "fp8 of blocks", tileRows: 16, tokens: 20, steps: 5 },
    { name: "fp8 of rows", tileRows: 64, tokens: 3, dtype: "f16", shape: { H: 32, I: 48, E: 128 } }, // uploaded in pairs
    { name: "fp8 of rows", tileRows: 16, tokens: 9, shape: { H: 360, I: 104 } }, // more strips than one copy has
    { name: "fp8 of rows", tileRows: 16, tokens: 9, dtype: "f16", shape: { H: 360, I: 104 } },
    { name: "fp8 of rows", tileRows: 192, tokens: 40, dtype: "f16", shape: { H: 544, I: 40, E: 2 } },
    { name: "fp8 of blocks, e8m0", tileRows: 64, tokens: 20, steps: 5 },
    { name: "fp8 of blocks", tileRows: 192, tokens: 40, shape: { H: 544, I: 32, E: 1 } },
    { name: "mxfp4", tileRows: 64, tokens: 3, steps: 2, dtype: "f32" },
    { name: "nvfp4, halves", tileRows: 64, tokens: 3, steps: 2, dtype: "f32", gateUpLayout: "concatenated" },
    { name: "int4 of 32", tileRows: 64, tokens: 3, steps: 2, dtype: "f32" },
    { name: "int4 of 128, zero points", tileRows: 64, tokens: 3, dtype: "f32" },
    { name: "fp8 of blocks", tileRows: 64, tokens: 3, steps: 5, dtype: "f32" },
    { name: "fp8 of halves", tileRows: 64, tokens: 9, steps: 2, gateUpLayout: "concatenated" },
    { name: "fp8 of halves", tileRows: 64, tokens: 3, steps: 2, dtype: "f32", gateUpLayout: "concatenated" },
    // More experts than lanes; more assignments than a warp places at a time; a tile with one row.
    { name: "mxfp4", tileRows: 16, tokens: 70, shape: { H: 32, I: 32, E: 40, K: 3 } },
    { name: "mxfp4", tileRows: 16, tokens: 150, shape: { H: 32, I: 32, K: 2 } },
    { name: "mxfp4", tileRows: 16, tokens: 450, shape: { H: 32, I: 32, K: 2 } },
    { name: "mxfp4", tileRows: 64, tokens: 70, shape: { H: 32, I: 32, E: 40, K: 3 } },
    { name: "mxfp4", tileRows: 192, tokens: 30, shape: { H: 96, I: 32, E: 40, K: 2 } },
    { name: "mxfp4", tileRows: 64, tokens: 65, shape: { H: 32, I: 32, E: 1 } },
    // More slots than the eight lanes that gather a token, whose neighbours in the warp have other tokens.
    { name: "mxfp4", tileRows: 64, tokens: 40, shape: { H: 96, I: 32, E: 3, K: 11 } },
    // The scale of a row is also that of the missing columns in its last block, whose weights are not zeros.
    { name: "int4 of a row", tileRows: 16, tokens: 9, steps: 3, zeros: true, shape: { I: 96 } },
    { name: "int4 of a row", tileRows: 64, tokens: 9, steps: 3, zeros: true, shape: { I: 96 } },
  ] satisfies PackedJob[]).map(packedJob),
  ...extremeJobs(128),
  ...numbersJobs,
  ...longPackedJobs,
];
