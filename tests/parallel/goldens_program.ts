// Runs the goldens and a job with packed weights over several ranks and on one GPU. Prints one JSON line: how many differ, and the largest error against float64.
import type { Backend } from "../../src/backend/backend.ts";
import { openCudaBackend } from "../../src/cuda/backend.ts";
import { experts } from "../../src/ops/experts.ts";
import { openRankBackend } from "../../src/parallel/open_parallel.ts";
import { WholeBackend } from "../../src/parallel/whole_backend.ts";
import type { PackedTensor } from "../../src/tensor/packed_tensor.ts";
import type { Tensor } from "../../src/tensor/tensor.ts";
import { RelativeError } from "../../src/verify/check.ts";
import { goldenInputs } from "../../src/verify/golden_inputs.ts";
import { goldens } from "../../src/verify/goldens.ts";
import { int4 } from "../packed_inputs.ts";
import { randomInputs } from "../random_inputs.ts";
import { SmallRandom } from "../small_random.ts";
import { copyExperts } from "../upload_suite.ts";
import { sameBits } from "./slices.ts";

const exchange = Deno.args[0] === "auto" ? "auto" : "assignments"; // "auto" exchanges tokens if the ranks have equally many
using parallel = await openRankBackend({ exchange, timeout: 30 }, WholeBackend);
using single = await openCudaBackend({ device: parallel.rank });
let different = 0, worst = 0;
for (const golden of goldens) {
  const options = { expertCapacity: golden.capacity };
  const output = await experts(goldenInputs(golden), { ...options, backend: parallel });
  if (!sameBits(output, await experts(goldenInputs(golden), { ...options, backend: single }))) different += 1;
  const expected = new Float32Array(Uint8Array.fromBase64(golden.output).buffer);
  worst = Math.max(worst, new RelativeError().add(output, expected).value);
}
if (!sameBits(await runPacked(parallel), await runPacked(single))) different += 1;
console.log(JSON.stringify({ different, worst }));

/** Runs a job whose packed weights are uploaded some experts at a time. */
async function runPacked(backend: Backend): Promise<Tensor> {
  const inputs = randomInputs({ T: 9, H: 32, I: 32, E: 5, K: 2 }, 1, { dtype: "bf16" });
  const random = new SmallRandom(1);
  using scope = new DisposableStack();
  const upload = (host: Tensor) => scope.use(backend.upload(host));
  const uploadPieces = async (weight: PackedTensor) =>
    scope.use(await backend.uploadPacked(weight, (piece, first) => copyExperts(weight, piece, first)));
  const output = await backend.experts({
    hiddenStates: upload(inputs.hiddenStates),
    routerIndices: upload(inputs.routerIndices),
    routingWeights: upload(inputs.routingWeights),
    gateUpProj: await uploadPieces(int4.make(random, [5, 64, 32], 1)),
    downProj: await uploadPieces(int4.make(random, [5, 32, 32], 1)),
  }, { weightLayout: "out-in" });
  return await backend.download(scope.use(output));
}
