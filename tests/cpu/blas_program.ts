// Compares the sums of a BLAS with those of the kernels, which it adds in another order. Prints one JSON line.
import { experts, openBackend } from "../../mod.ts";
import { randomInputs } from "../random_inputs.ts";

using found = await openBackend("cpu", { threads: 1 });
using kernels = await openBackend("cpu", { threads: 1, blas: "none" });
const inputs = randomInputs({ T: 60, H: 400, I: 400, E: 2, K: 1 }, 3);
const output = async (backend: typeof found, batchInvariant = false) =>
  (await experts(inputs, { backend, batchInvariant })).data.join();
const expected = await output(kernels);
console.log(JSON.stringify({
  engines: [found.engine, kernels.engine],
  same: await output(found) === expected,
  sameIfInvariant: await output(found, true) === expected,
}));
