import { assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { BackendUnavailableError, experts, openBackend, type Tensor, tensor } from "../../mod.ts";
import { expertsInputs, Fixture, jobNames } from "../fixtures.ts";
import { findBlas } from "../../src/cpu/blas.ts";
import { randomInputs, testBackend } from "../backend_suite.ts";

const blas = findBlas("auto");

testBackend("cpu", () => openBackend("cpu", { threads: 2, blas: "none" }));
testBackend("cpu with a BLAS", () => openBackend("cpu", { threads: 2, blas: blas!.path }), { ignore: !blas });

function shared({ data, shape }: Tensor): Tensor {
  const copy = new Float16Array(new SharedArrayBuffer(data.byteLength));
  copy.set(data);
  return tensor(copy, shape);
}

for (const library of ["none", blas?.path ?? "auto"]) {
  const name = library === "none" ? "cpu" : "cpu with a BLAS";
  Deno.test({
    name: `${name}: the result is the same bits for any number of threads`,
    ignore: library === "auto",
    fn: () => sameBitsForAnyThreads(library),
  });
}

async function sameBitsForAnyThreads(blas: string) {
  const fixtures = jobNames.map((name) => expertsInputs(new Fixture(name)));
  const jobs = [...fixtures, randomInputs({ T: 300, H: 200, I: 312, E: 3, K: 2 }, 5)];
  const results = await Promise.all([1, 2, 3, 7].map(async (threads) => {
    using backend = await openBackend("cpu", { threads, blas });
    const outputs = [];
    for (const inputs of jobs) outputs.push((await experts(inputs, { backend, expertCapacity: 50 })).data);
    return outputs;
  }));
  for (const result of results) assertEquals(result, results[0]);
}

Deno.test("cpu: with batchInvariant, a token's bits do not depend on the other tokens", async () => {
  using backend = await openBackend("cpu", { threads: 2 });
  const inputs = randomInputs({ T: 64, H: 72, I: 104, E: 4, K: 2 }, 9);
  const whole = await experts(inputs, { backend, batchInvariant: true });
  for (const [first, count] of [[0, 1], [13, 5], [40, 24]] as const) {
    const rows = ({ data, shape: [, width] }: Tensor) =>
      tensor(data.slice(first * width!, (first + count) * width!), [count, width!]);
    const part = await experts({
      ...inputs,
      hiddenStates: rows(inputs.hiddenStates),
      routerIndices: rows(inputs.routerIndices),
      routingWeights: rows(inputs.routingWeights),
    }, { backend, batchInvariant: true });
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

Deno.test({
  name: "cpu: a BLAS that is found is used, is named, and batchInvariant leaves it out",
  ignore: !blas,
  fn: async () => {
    using found = await openBackend("cpu", { threads: 1 });
    using kernels = await openBackend("cpu", { threads: 1, blas: "none" });
    assertEquals(found.engine, blas!.name);
    assertEquals(kernels.engine, "WebAssembly");
    const inputs = randomInputs({ T: 30, H: 400, I: 400, E: 2, K: 1 }, 3);
    const expected = (await experts(inputs, { backend: kernels })).data;
    assertNotEquals((await experts(inputs, { backend: found })).data, expected); // it adds up in another order
    assertEquals((await experts(inputs, { backend: found, batchInvariant: true })).data, expected);
  },
});

Deno.test("cpu: a BLAS that cannot be used is refused with the reason", async () => {
  const open = (blas: string) => openBackend("cpu", { threads: 1, blas });
  await assertRejects(() => open("/no/such/library.so"), BackendUnavailableError, 'library "/no/such/library.so"');
  if (Deno.build.os !== "linux") return;
  await assertRejects(() => open("libm.so.6"), BackendUnavailableError, "it has no cblas_sgemm");
});
