/**
 * Checks that a backend computes the right results.
 *
 * @module
 */
import type { Backend } from "../backend/backend.ts";
import { experts } from "../ops/experts.ts";
import type { WorkerPool } from "../wasm/worker_pool.ts";
import { drawInputs, type Job, jobOptions } from "../workload/workload.ts";
import { boundedCheck, type Check, errorBounds, RelativeError } from "./check.ts";
import { goldenInputs } from "./golden_inputs.ts";
import { goldens } from "./goldens.ts";
import { layerChecks } from "./layers.ts";
import { packedChecks } from "./packed.ts";
import { checkSample } from "./sample.ts";
import { variantChecks } from "./variants.ts";

export type { Check };

/** Options of {@linkcode verify}. */
export interface VerifyOptions {
  /** The large job. */
  readonly job: Job;
  /** Number of its tokens that are compared with float64. */
  readonly samples: number;
  /** Number of runs that must give the same bits. */
  readonly runs: number;
}

/** Runs all checks in order: goldens, variants, packed weights, routers, layers, and a large job. */
export async function* verify(backend: Backend, pool: WorkerPool, options: VerifyOptions): AsyncGenerator<Check> {
  for (const golden of goldens) {
    const expected = new Float32Array(Uint8Array.fromBase64(golden.output).buffer);
    const output = await experts(goldenInputs(golden), { expertCapacity: golden.capacity, backend });
    yield boundedCheck(`golden ${golden.name}`, new RelativeError().add(output, expected).value, errorBounds.f16);
  }
  yield* variantChecks(backend);
  yield* packedChecks(backend);
  yield* layerChecks(backend);
  yield* jobChecks(backend, pool, options);
}

/** Runs the checks of a large job: sampled tokens and determinism. */
export async function* jobChecks(
  backend: Backend,
  pool: WorkerPool,
  { job, samples, runs }: VerifyOptions,
): AsyncGenerator<Check> {
  using workload = await drawInputs(job, backend, pool);
  const options = jobOptions(job);
  using firstOutput = await backend.experts(workload.inputs, options);
  const first = await backend.download(firstOutput);

  const sampled = await checkSample(backend, workload.inputs, firstOutput, options, {
    samples,
    readWeight: workload.readWeight,
  });
  yield {
    name: `${sampled.samples} tokens of the ${job.preset} job`,
    error: sampled.error,
    bound: sampled.bound,
    passed: sampled.bad === null,
  };

  let different = 0;
  for (let run = 1; run < runs; run++) {
    using output = await backend.experts(workload.inputs, options);
    if (!sameBits((await backend.download(output)).data, first.data)) different += 1;
  }
  yield { name: `the same bits in ${runs} runs`, error: different, bound: 0, passed: different === 0 };
}

function sameBits(a: ArrayBufferView, b: ArrayBufferView): boolean {
  const words = (view: ArrayBufferView) => new Uint16Array(view.buffer, view.byteOffset, view.byteLength / 2);
  const x = words(a), y = words(b);
  return x.length === y.length && x.every((word, i) => word === y[i]);
}
