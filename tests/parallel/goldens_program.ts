// Runs the goldens over several ranks and on one GPU. Prints one JSON line: how many differ, and the largest error against float64.
import { openCudaBackend } from "../../src/cuda/backend.ts";
import { experts } from "../../src/ops/experts.ts";
import { openRankBackend } from "../../src/parallel/open_parallel.ts";
import { WholeBackend } from "../../src/parallel/whole_backend.ts";
import { RelativeError } from "../../src/verify/check.ts";
import { goldenInputs } from "../../src/verify/golden_inputs.ts";
import { goldens } from "../../src/verify/goldens.ts";
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
console.log(JSON.stringify({ different, worst }));
