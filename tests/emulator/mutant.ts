// Runs one emulator through jobs that reach every branch of the kernels, and prints a digest of all results, or what a checker
// found. A process of its own: a mutant may never end.
import { openCudaBackend } from "../../src/cuda/backend.ts";
import { tensorTiles } from "../../src/cuda/tiles.ts";
import { experts } from "../../src/experts.ts";
import type { ExpertsOptions } from "../../src/experts.ts";
import { randomInputs, type RandomInputsOptions, type RandomShape } from "../backend_suite.ts";
import { sortJob, sortOnDevice } from "../cuda/sort.ts";
import { Control } from "./control.ts";

/** Jobs: each tile shape, ragged in every direction, few and many experts, every dtype, layout and activation. */
const jobs: [RandomShape, ExpertsOptions?, RandomInputsOptions?][] = [
  [{ T: 1, H: 8, I: 8, E: 1, K: 1 }],
  [{ T: 40, H: 200, I: 136, E: 3, K: 2 }, { expertCapacity: 11 }],
  [{ T: 90, H: 40, I: 72, E: 2, K: 2 }, {}, { bias: false }],
  [{ T: 180, H: 104, I: 136, E: 2, K: 2 }, { expertCapacity: 150 }, { dense: true }],
  [{ T: 620, H: 72, I: 264, E: 2, K: 2 }, { expertCapacity: 530 }, { spread: 0.7 }],
  [{ T: 70, H: 16, I: 16, E: 33, K: 3 }, { expertCapacity: 9 }],
  [{ T: 5, H: 16, I: 8, E: 1024, K: 1 }],
  [{ T: 2500, H: 8, I: 8, E: 5, K: 2 }, { expertCapacity: 900 }, { spread: 0.6 }],
  [{ T: 4300, H: 8, I: 8, E: 1, K: 1 }],
  [{ T: 40, H: 104, I: 136, E: 3, K: 2 }, { gateUpLayout: "concatenated", activation: "gelu" }],
  [{ T: 90, H: 104, I: 72, E: 1, K: 1 }, { activation: "relu2", gated: false }],
  [{ T: 40, H: 200, I: 136, E: 3, K: 2 }, { weightLayout: "out-in", gateUpLayout: "concatenated" }, { dtype: "bf16" }],
  [{ T: 300, H: 72, I: 136, E: 2, K: 2 }, { weightLayout: "out-in", activation: "gelu-tanh" }],
  [{ T: 100, H: 37, I: 45, E: 2, K: 1 }, { weightLayout: "out-in", gateUpLayout: "concatenated" }, { dtype: "bf16" }],
  [{ T: 330, H: 69, I: 77, E: 2, K: 1 }, { activation: "silu", gated: false }, { dtype: "f32" }],
  [{ T: 20, H: 130, I: 33, E: 2, K: 1 }, { activation: "gelu" }],
];

const [library] = Deno.args;
const control = new Control(library!);
const results: Uint8Array<ArrayBuffer>[] = [];
try {
  for (const [i, [shape, options, kind]] of jobs.entries()) {
    // The largest tiles that the rows mostly fill.
    const { shapes } = tensorTiles;
    const { rows: tileRows } = shapes.find(({ rows }) => shape.T * shape.K / shape.E > rows * 0.75) ?? shapes.at(-1)!;
    using backend = await openCudaBackend({ library, tileRows });
    control.schedule(i % 2); // every other job with its threads in another order
    const { data } = await experts(randomInputs(shape, i, { ...kind, ...options }), { ...options, backend });
    results.push(new Uint8Array(data.buffer as unknown as ArrayBuffer, data.byteOffset, data.byteLength).slice());
  }
  for (const [i, job] of [sortJob(17000, 7, 1000), sortJob(4100, 40, 30)].entries()) {
    control.schedule(i);
    for (const list of Object.values(await sortOnDevice(library!, job))) results.push(new Uint8Array(list.buffer));
  }
  const kernels = ["f16_in_out", "f16_out_in", "bf16_out_in"].flatMap((variant) =>
    tensorTiles.shapes.flatMap(({ rows }) => [`gated_${rows}_${variant}`, `plain_${rows}_${variant}`])
  );
  for (const kernel of kernels) {
    const { bankConflicts, copyConflicts } = control.counters(kernel);
    if (bankConflicts + copyConflicts > 0) throw new Error(`bank conflicts in ${kernel}`);
  }
  const bytes = new Uint8Array(await new Blob(results).arrayBuffer());
  console.log(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex());
} catch (error) {
  console.log(`caught: ${control.report || (error instanceof Error ? error.message : error)}`);
}
