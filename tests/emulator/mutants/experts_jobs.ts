// Jobs that run the whole `experts` op.
import type { ExpertsOptions } from "../../../src/contract/experts.ts";
import { experts } from "../../../src/ops/experts.ts";
import { tensor } from "../../../src/tensor/tensor.ts";
import {
  infiniteInputs,
  randomInputs,
  type RandomInputsOptions,
  type RandomShape,
  uploadUnknownExperts,
} from "../../random_inputs.ts";
import { backendOf, bytes, type Job } from "./job.ts";

/** The rows of a tile, and the call that runs with it. */
type ExpertsJob = [tileRows: number, shape: RandomShape, options?: ExpertsOptions, inputs?: RandomInputsOptions];

const outIn = { weightLayout: "out-in" } as const;
const concatenated = { gateUpLayout: "concatenated" } as const;
const bothOther = { ...outIn, ...concatenated };

/** Jobs of the portable kernels. */
export const products: readonly ExpertsJob[] = [
  // Tensor cores.
  [16, { T: 1, H: 8, I: 8, E: 1, K: 1 }],
  [16, { T: 40, H: 72, I: 136, E: 3, K: 2 }, { expertCapacity: 11 }],
  [16, { T: 300, H: 40, I: 136, E: 1, K: 1 }, {}, { bias: "gate-up" }],
  [16, { T: 20, H: 40, I: 72, E: 2, K: 1 }, bothOther, { dtype: "bf16" }],
  [16, { T: 20, H: 40, I: 72, E: 2, K: 1 }, { ...concatenated, activation: "gelu" }],
  [16, { T: 20, H: 40, I: 72, E: 2, K: 1 }, { ...outIn, activation: "gelu-tanh" }],
  [16, { T: 20, H: 40, I: 72, E: 2, K: 1 }, { activation: "relu2", gated: false }, { dtype: "bf16", bias: false }],
  [16, { T: 20, H: 40, I: 72, E: 2, K: 1 }, { activation: "relu", gated: false }],
  [16, { T: 20, H: 40, I: 72, E: 2, K: 1 }, { activation: "silu", gated: false }],
  [16, { T: 20, H: 40, I: 72, E: 2, K: 1 }, { activation: "gelu", gated: false, ...outIn }],
  [16, { T: 20, H: 40, I: 72, E: 2, K: 1 }, { activation: "gelu-tanh", gated: false }],
  [16, { T: 20, H: 40, I: 72, E: 2, K: 1 }, { activationLimit: 0.5 }],
  [16, { T: 256, H: 128, I: 64, E: 1, K: 1 }], // as many row tiles as one group has
  [64, { T: 130, H: 104, I: 72, E: 3, K: 2 }, { expertCapacity: 75 }, { dense: true }],
  [64, { T: 70, H: 40, I: 136, E: 1, K: 1 }, { ...outIn, activation: "silu" }],
  [64, { T: 70, H: 72, I: 72, E: 1, K: 1 }, { ...bothOther, activation: "relu2" }],
  [128, { T: 140, H: 104, I: 72, E: 1, K: 1 }, concatenated],
  [128, { T: 140, H: 40, I: 136, E: 1, K: 1 }, { ...outIn, activation: "gelu" }],
  [128, { T: 140, H: 72, I: 72, E: 1, K: 1 }, { ...outIn, activation: "silu", gated: false }],
  [256, { T: 300, H: 72, I: 136, E: 1, K: 1 }, { activation: "gelu" }],
  [256, { T: 270, H: 40, I: 72, E: 1, K: 1 }, bothOther],
  // SIMT.
  [16, { T: 20, H: 37, I: 45, E: 2, K: 1 }, bothOther, { dtype: "bf16" }],
  [16, { T: 20, H: 72, I: 45, E: 2, K: 2 }, concatenated, { dtype: "f32" }],
  [16, { T: 20, H: 69, I: 77, E: 2, K: 1 }, { ...outIn, activation: "gelu" }, { dtype: "f32", bias: false }],
  [16, { T: 20, H: 13, I: 33, E: 2, K: 1 }, { activation: "gelu-tanh" }],
  [16, { T: 20, H: 13, I: 33, E: 2, K: 1 }, { activation: "relu2", ...outIn }],
  [16, { T: 20, H: 13, I: 33, E: 2, K: 1 }, { activation: "gelu", gated: false }],
  [16, { T: 20, H: 13, I: 33, E: 2, K: 1 }, { activationLimit: 0.5 }, { dtype: "f32" }],
  [16, { T: 280, H: 13, I: 67, E: 1, K: 1 }, { activation: "silu" }],
  [128, { T: 330, H: 69, I: 77, E: 2, K: 1 }, { activation: "silu", gated: false }, { dtype: "f32" }],
  [128, { T: 140, H: 18, I: 45, E: 1, K: 1 }, bothOther, { dtype: "f16" }],
  [16, { T: 256, H: 13, I: 9, E: 1, K: 1 }, {}, { dtype: "f32" }], // the same
  [16, { T: 20, H: 128, I: 32, E: 2, K: 1 }, {}, { dtype: "f32" }],
  [128, { T: 300, H: 5, I: 13, E: 1, K: 1 }, {}, { dtype: "bf16" }],
  // Optional inputs.
  [16, { T: 40, H: 264, I: 8, E: 3, K: 2 }, { expertCapacity: 11 }, { extra: "addend with weights" }],
  [16, { T: 20, H: 37, I: 8, E: 3, K: 2 }, { expertCapacity: 5 }, { extra: "addend with weights", dtype: "bf16" }],
  [16, { T: 20, H: 37, I: 8, E: 3, K: 2 }, {}, { extra: "addend", dtype: "f32" }],
  [16, { T: 20, H: 40, I: 8, E: 3, K: 2 }, {}, { extra: "addend", dtype: "bf16" }],
  [16, { T: 20, H: 40, I: 8, E: 3, K: 2 }, {}, { extra: "f32 weights", dense: true }],
  [16, { T: 20, H: 37, I: 8, E: 3, K: 2 }, {}, { extra: "f32 weights", dtype: "bf16" }],
  [16, { T: 20, H: 264, I: 8, E: 3, K: 3 }, {}, { extra: "input weights" }],
  [16, { T: 20, H: 37, I: 8, E: 3, K: 1 }, {}, { extra: "input weights", dtype: "bf16" }],
  [64, { T: 70, H: 40, I: 72, E: 1, K: 1 }, {}, { extra: "input weights" }],
  [128, { T: 140, H: 18, I: 45, E: 1, K: 1 }, {}, { extra: "input weights", dtype: "f32" }],
  // The sort and the sum over slots.
  [16, { T: 30, H: 8, I: 8, E: 33, K: 3 }, { expertCapacity: 2 }],
  [16, { T: 5, H: 8, I: 8, E: 1024, K: 1 }],
  [256, { T: 4300, H: 8, I: 8, E: 5, K: 2 }, { expertCapacity: 20 }, { spread: 0.6 }],
];

/** Jobs of the kernels that only Hopper has. */
export const hopperProducts: readonly ExpertsJob[] = [
  [192, { T: 20, H: 40, I: 72, E: 2, K: 1 }],
  [192, { T: 20, H: 40, I: 72, E: 2, K: 1 }, outIn],
  [192, { T: 20, H: 40, I: 72, E: 2, K: 1 }, concatenated, { dtype: "bf16" }],
  [192, { T: 20, H: 40, I: 72, E: 2, K: 1 }, bothOther],
  [192, { T: 20, H: 40, I: 72, E: 2, K: 1 }, {}, { bias: false }],
  [192, { T: 20, H: 40, I: 72, E: 2, K: 1 }, bothOther, { bias: false, dtype: "bf16" }],
  [192, { T: 20, H: 40, I: 72, E: 2, K: 1 }, { activationLimit: 0.5 }],
  [192, { T: 20, H: 40, I: 72, E: 2, K: 1 }, { ...concatenated, activation: "silu" }],
  [192, { T: 140, H: 208, I: 200, E: 3, K: 2 }, { expertCapacity: 90 }, { dense: true }],
  [192, { T: 300, H: 72, I: 136, E: 1, K: 1 }],
  [192, { T: 270, H: 200, I: 72, E: 1, K: 1 }, bothOther],
  [192, { T: 200, H: 72, I: 136, E: 1, K: 1 }, { ...concatenated, expertCapacity: 150 }],
  [192, { T: 20, H: 128, I: 192, E: 2, K: 1 }, outIn], // whole steps and whole tiles
  [192, { T: 65, H: 24, I: 40, E: 1, K: 1 }], // a row after a whole unit
  [192, { T: 64, H: 24, I: 40, E: 1, K: 1 }], // whole units
  [192, { T: 128, H: 24, I: 40, E: 1, K: 1 }],
  [192, { T: 129, H: 24, I: 40, E: 1, K: 1 }],
  [192, { T: 192, H: 264, I: 264, E: 1, K: 1 }], // a whole tile, and more steps than stages
  [192, { T: 384, H: 24, I: 40, E: 1, K: 1 }], // two whole tiles
  [192, { T: 45, H: 40, I: 328, E: 2, K: 1 }, {}, { extra: "input weights" }], // no columns for the second warpgroup in down
  [192, { T: 150, H: 40, I: 72, E: 2, K: 1 }, concatenated, { extra: "input weights" }],
  [192, { T: 1200, H: 200, I: 104, E: 2, K: 1 }], // more tiles than multiprocessors
  [32, { T: 20, H: 40, I: 72, E: 2, K: 1 }],
  [32, { T: 20, H: 40, I: 72, E: 2, K: 1 }, outIn],
  [32, { T: 20, H: 40, I: 72, E: 2, K: 1 }, concatenated, { dtype: "bf16" }],
  [32, { T: 20, H: 40, I: 72, E: 2, K: 1 }, bothOther, { bias: false }],
  [32, { T: 70, H: 208, I: 200, E: 40, K: 2 }, outIn, { extra: "input weights" }], // more experts than lanes
  [32, { T: 20, H: 128, I: 256, E: 2, K: 1 }], // whole steps and whole tiles
  [32, { T: 300, H: 136, I: 264, E: 2, K: 1 }, concatenated], // more tiles than blocks
  [32, { T: 70, H: 40, I: 72, E: 2, K: 2 }, { expertCapacity: 66 }, { extra: "input weights" }],
  [32, { T: 12, H: 24, I: 40, E: 1, K: 35 }, { expertCapacity: 61 }], // more slots than lanes, and a token keeps a part
  [32, { T: 260, H: 40, I: 72, E: 3, K: 2 }, {}, { extra: "input weights" }], // sorted before
  [32, { T: 40, H: 1032, I: 1032, E: 1, K: 1 }, outIn], // both products in one launch, several tiles of rows
  // Warps that drift apart show more here. Both products in one launch, where all columns of gate_up fit in the ring:
  [32, { T: 5, H: 5504, I: 400, E: 1, K: 1 }, outIn],
  // More steps than stages:
  [192, { T: 20, H: 328, I: 200, E: 2, K: 1 }, outIn],
];

/** Makes a job of a call, with inputs from a seed. */
export function expertsJob([tileRows, shape, options = {}, inputs = {}]: ExpertsJob, seed: number): Job {
  return {
    name: `experts ${JSON.stringify({ tileRows, ...shape, ...options, ...inputs })}`,
    run: async (library) => {
      const backend = await backendOf(library, tileRows);
      return [bytes(await experts(randomInputs(shape, seed, { ...inputs, ...options }), { ...options, backend }))];
    },
  };
}

/** Zeros without biases: even the smallest number that a kernel adds by mistake shows in the result. */
export const zerosJob: Job = {
  name: "experts of zeros, no biases",
  run: async (library) => {
    const inputs = randomInputs({ T: 20, H: 40, I: 72, E: 2, K: 1 }, 0, { bias: false });
    const hiddenStates = tensor(new Float16Array(20 * 40), [20, 40]);
    return [bytes(await experts({ ...inputs, hiddenStates }, { backend: await backendOf(library, 128) }))];
  },
};

export const infinityJob: Job = {
  name: "experts of an infinity",
  run: async (library) => {
    const inputs = infiniteInputs({ T: 20, H: 24, I: 64, E: 2, K: 1 }, 0);
    return [bytes(await experts(inputs, { backend: await backendOf(library, 32) }))];
  },
};

export const unknownExpertsJob: Job = {
  name: "experts, some of them unknown",
  run: async (library) => {
    const backend = await backendOf(library, 32);
    using scope = new DisposableStack();
    const inputs = uploadUnknownExperts(backend, scope, { T: 20, H: 24, I: 40, E: 2, K: 1 }, 1);
    return [bytes(await backend.download(scope.use(await backend.experts(inputs))))];
  },
};
