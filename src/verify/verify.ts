/**
 * Checks that a backend computes what it should.
 *
 * @module
 */
import type { Backend } from "../backend.ts";
import { experts } from "../experts.ts";
import type { Engine } from "../wasm/engine.ts";
import { drawInputs, type Job, jobOptions } from "../workload.ts";
import { goldenInputs } from "./golden_inputs.ts";
import { goldens } from "./goldens.ts";
import { checkSample, errorBounds } from "./sample.ts";

/** What one check found. */
export interface Check {
  /** What was checked. */
  readonly name: string;
  /** ‖error‖ / ‖result‖; for determinism, the number of runs that differed. */
  readonly error: number;
  /** The most that passes. */
  readonly bound: number;
  readonly passed: boolean;
}

/** Options of {@linkcode verify}. */
export interface VerifyOptions {
  /** The large job. */
  readonly job: Job;
  /** How many of its tokens are computed in float64. */
  readonly samples: number;
  /** How many times it is run to see that the bits stay the same. */
  readonly runs: number;
}

/** Runs the checks one by one: the goldens, a large job's sampled tokens, determinism. */
export async function* verify(
  backend: Backend,
  engine: Engine,
  { job, samples, runs }: VerifyOptions,
): AsyncGenerator<Check> {
  for (const golden of goldens) {
    const expected = new Float32Array(Uint8Array.fromBase64(golden.output).buffer);
    const output = await experts(goldenInputs(golden), { expertCapacity: golden.capacity, backend });
    yield check(`golden ${golden.name}`, relativeError(output.data, expected));
  }

  using workload = await drawInputs(job, backend, engine);
  const options = jobOptions(job);
  using firstOutput = await backend.experts(workload.inputs, options);
  const first = await backend.download(firstOutput);

  const sampled = await checkSample(backend, workload.inputs, firstOutput, options, { samples });
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

function check(name: string, error: number): Check {
  return { name, error, bound: errorBounds.f16, passed: error <= errorBounds.f16 };
}

function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let error = 0, norm = 0;
  for (let i = 0; i < expected.length; i++) {
    error += (actual[i]! - expected[i]!) ** 2;
    norm += expected[i]! ** 2;
  }
  return Math.sqrt(error / norm);
}

function sameBits(a: ArrayBufferView, b: ArrayBufferView): boolean {
  const words = (view: ArrayBufferView) => new Uint16Array(view.buffer, view.byteOffset, view.byteLength / 2);
  const x = words(a), y = words(b);
  return x.length === y.length && x.every((word, i) => word === y[i]);
}
