// Small jobs that together reach every branch of the kernels: every tile shape, with sizes that leave partial tiles in every
// dimension, and more than one round of every grid-stride loop on a GPU of four multiprocessors.
import { moe } from "../../../src/ops/moe.ts";
import { convert } from "../../../src/tensor/tensor.ts";
import { Generator } from "../../../src/torch/generator.ts";
import { sortJob, sortOnDevice } from "../../cuda/sort.ts";
import { expertsJob, hopperProducts, infinityJob, products, unknownExpertsJob, zerosJob } from "./experts_jobs.ts";
import { backendOf, bytes, type Job } from "./job.ts";
import { opJobs } from "./op_jobs.ts";
import { fewRowsJobs, longPackedJobs, packedJobs, storedJobs } from "./packed_jobs.ts";
import { linearJobs, routeJobs } from "./router_jobs.ts";

/** A whole layer: router, experts and a shared expert. */
const layerJob: Job = {
  name: "moe",
  run: async (library) => {
    const half = (...shape: number[]) => convert(new Generator(shape[0]!).randn(shape), "f16");
    const output = await moe(half(11, 16), {
      router: { weight: half(6, 16), bias: half(6), options: { kind: "sigmoid-input", topK: 2 } },
      ...{ gateUpProj: half(6, 16, 16), downProj: half(6, 8, 16) },
      sharedExpert: { gateUpProj: half(1, 16, 16), downProj: half(1, 8, 16), gate: half(1, 16) },
    }, { expertCapacity: 3, backend: await backendOf(library) });
    return [bytes(output)];
  },
};

/** The jobs for sm_80. */
export const jobs: readonly Job[] = [
  ...products.map(expertsJob),
  ...storedJobs,
  ...routeJobs(),
  ...linearJobs(),
  ...opJobs(),
  layerJob,
  ...[[5000, 7, 500], [2100, 40, 30]].map(([count, experts, capacity]): Job => ({
    name: `sort ${count} ${experts}`,
    run: async (library) => Object.values(await sortOnDevice(library, sortJob(count!, experts!, capacity!))),
  })),
];

/**
 * Jobs whose warps drift apart. A warp may still multiply a stage that the next round of the ring overwrites, unless the
 * producers wait for every consumer. A warp may read the input of down before other warps have written it.
 */
const preemptedJobs = [...hopperProducts.slice(-2).map(expertsJob), ...longPackedJobs].flatMap(({ name, run }) =>
  [7, 50, 400].map((preempt): Job => ({ name: `${name}, preempted every ${preempt} accesses`, run, preempt }))
);

/** The jobs for the kernels that only sm_90 has. */
export const hopperJobs: readonly Job[] = [
  ...hopperProducts.map(expertsJob),
  ...packedJobs,
  zerosJob,
  infinityJob,
  ...preemptedJobs,
  unknownExpertsJob,
  ...fewRowsJobs,
];
