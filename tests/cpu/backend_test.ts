import { assertEquals } from "@std/assert";
import { experts, openBackend, type Tensor, tensor } from "../../mod.ts";
import { expertsInputs, Fixture, jobNames } from "../fixtures.ts";
import { randomInputs, testBackend } from "../backend_suite.ts";

testBackend("cpu", () => openBackend("cpu", { threads: 2 }), {
  variants: { dtypes: ["f16"], weightLayouts: ["in-out"], activations: false },
});

function shared({ data, shape }: Tensor): Tensor {
  const copy = new Float16Array(new SharedArrayBuffer(data.byteLength));
  copy.set(data);
  return tensor(copy, shape);
}

Deno.test("cpu: the result is the same bits for any number of threads", async () => {
  const fixtures = jobNames.map((name) => expertsInputs(new Fixture(name)));
  const jobs = [...fixtures, randomInputs({ T: 300, H: 200, I: 312, E: 3, K: 2 }, 5)];
  const results = await Promise.all([1, 2, 3, 7].map(async (threads) => {
    using backend = await openBackend("cpu", { threads });
    const outputs = [];
    for (const inputs of jobs) outputs.push((await experts(inputs, { backend, expertCapacity: 50 })).data);
    return outputs;
  }));
  for (const result of results) assertEquals(result, results[0]);
});

Deno.test("cpu: a token's bits do not depend on the other tokens", async () => {
  using backend = await openBackend("cpu", { threads: 2 });
  const inputs = randomInputs({ T: 64, H: 72, I: 104, E: 4, K: 2 }, 9);
  const whole = await experts(inputs, { backend });
  for (const [first, count] of [[0, 1], [13, 5], [40, 24]] as const) {
    const rows = ({ data, shape: [, width] }: Tensor) =>
      tensor(data.slice(first * width!, (first + count) * width!), [count, width!]);
    const part = await experts({
      ...inputs,
      hiddenStates: rows(inputs.hiddenStates),
      routerIndices: rows(inputs.routerIndices),
      routingWeights: rows(inputs.routingWeights),
    }, { backend });
    assertEquals(part.data, rows(whole).data);
  }
});

Deno.test("cpu: shared memory is used as it is, other memory is copied", async () => {
  using backend = await openBackend("cpu", { threads: 1 });
  const inputs = randomInputs({ T: 10, H: 16, I: 16, E: 2, K: 1 }, 2);
  const weights = shared(inputs.gateUpProj);
  using _weights = backend.upload(weights);
  await backend.read(_weights, (piece) => assertEquals(piece.buffer, weights.data.buffer));
  const output = await experts({ ...inputs, gateUpProj: weights }, { backend });
  assertEquals(output.data, (await experts(inputs, { backend })).data);
});
