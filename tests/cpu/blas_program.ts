// Compares the sums of a BLAS with those of the kernels, which it adds in another order. Prints one JSON line.
import { equal } from "@std/assert";
import { experts, openBackend } from "../../mod.ts";
import { randomInputs } from "../random_inputs.ts";

using found = await openBackend("cpu", { threads: 1 });
using kernels = await openBackend("cpu", { threads: 1, blas: "none" });
const inputs = randomInputs({ T: 60, H: 400, I: 400, E: 2, K: 1 }, 3);
const expected = (await experts(inputs, { backend: kernels })).data;
const isExpected = async (batchInvariant: boolean) =>
  equal((await experts(inputs, { backend: found, batchInvariant })).data, expected);
console.log(JSON.stringify({
  engines: [found.engine, kernels.engine],
  same: await isExpected(false),
  sameIfInvariant: await isExpected(true),
}));
