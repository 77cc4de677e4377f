// Packed weights on the CPU.
import { assertEquals, assertRejects } from "@std/assert";
import { decode, experts, openBackend, packed, tensor } from "../../mod.ts";
import { variants } from "../packed_inputs.ts";
import { extremesSuite, packedSuite } from "../packed_suite.ts";
import { randomInputs } from "../random_inputs.ts";
import { SmallRandom } from "../small_random.ts";
import { failingUploads, uploadSuite } from "../upload_suite.ts";

Deno.test("cpu: packed weights have the bits of decoded weights, WebAssembly", async () => {
  using backend = await openBackend("cpu", { threads: 2, blas: "none" });
  await packedSuite(backend, 14);
});

Deno.test("cpu: packed weights have the bits of decoded weights, BLAS", async () => {
  using backend = await openBackend("cpu", { threads: 2 });
  await packedSuite(backend, 14);
});

Deno.test("cpu: missing rows of the last eight do not reach the others", async () => {
  using backend = await openBackend("cpu", { threads: 1, blas: "none" });
  const options = { activation: "relu", gated: false, weightLayout: "out-in", backend } as const;
  const random = new SmallRandom(0);
  const larger = randomInputs({ T: 9, H: 512, I: 64, E: 1, K: 1 }, 1, { ...options, dtype: "f32" });
  for (const { name, unit, make } of variants) {
    for (const I of [1, 2, 3, 4, 5, 6, 7, 33]) {
      if (I % 2 !== 0 && name === "nvfp4, halves") continue;
      const inputs = randomInputs({ T: 9, H: 2 * Math.max(unit, 32), I, E: 2, K: 1 }, I, { ...options, dtype: "f32" });
      const gateUpProj = make(random, [2, I, 2 * Math.max(unit, 32)], 0.1);
      await experts(larger, options); // leaves arbitrary bits in the memory of the worker
      const expected = await experts({ ...inputs, gateUpProj: decode(gateUpProj, "f32") }, options);
      assertEquals(await experts({ ...inputs, gateUpProj }, options), expected, `${name}, ${I} rows`);
    }
  }
});

for (const blas of ["none", "auto"] as const) {
  Deno.test(`cpu: all numbers and scales of eight bits, BLAS ${blas}`, async () => {
    using backend = await openBackend("cpu", { threads: 1, blas });
    await extremesSuite(backend);
  });
}

Deno.test("cpu: packed weights are the same, uploaded at once or filled in place", async () => {
  using backend = await openBackend("cpu", { threads: 1 });
  await uploadSuite(backend, 1);
  await failingUploads(backend);
});

Deno.test("experts() refuses packed weights that do not fit the call, by name", async () => {
  const values = tensor(new Uint8Array(2 * 64 * 16).fill(0x71), [2, 64, 16]);
  const gateUpProj = packed("mxfp4", { values, scales: tensor(new Uint8Array(2 * 64).fill(150), [2, 64, 1]) }, [
    2,
    64,
    32,
  ]);
  const good = randomInputs({ T: 3, H: 32, I: 32, E: 2, K: 1 }, 1, { weightLayout: "out-in" });
  const inputs = { ...good, gateUpProj };
  await assertRejects(
    () => experts(inputs),
    RangeError,
    'weightLayout must be "out-in" for packed weights such as gateUpProj, got "in-out"',
  );
  await assertRejects(
    () => experts(inputs, { weightLayout: "out-in" }),
    RangeError,
    "gateUpProj in mxfp4 must only have numbers of f16 for hidden states in f16, got others: use bf16 or f32",
  );
  const { downProj } = good;
  const wide = randomInputs({ T: 3, H: 64, I: 32, E: 2, K: 1 }, 1, { weightLayout: "out-in", dtype: "f32" });
  await assertRejects(
    () => experts({ ...wide, gateUpProj }, { weightLayout: "out-in" }),
    RangeError,
    "gateUpProj must have shape [2, 64, 64]",
  );
  const detached = packed("mxfp4", { ...gateUpProj.parts, values: { ...values, data: values.data.slice() } }, [
    2,
    64,
    32,
  ]);
  structuredClone(detached.parts.values.data.buffer, { transfer: [detached.parts.values.data.buffer as ArrayBuffer] });
  await assertRejects(
    () => experts({ ...good, downProj, gateUpProj: detached }, { weightLayout: "out-in" }),
    TypeError,
    "gateUpProj.values must have memory: its buffer is detached",
  );
});

Deno.test("cpu: a packed tensor owns its parts, and takes the memory of its format", async () => {
  using backend = await openBackend("cpu", { threads: 1 });
  const values = tensor(new Uint8Array(2 * 64 * 16), [2, 64, 16]);
  const scales = tensor(new Uint8Array(2 * 64), [2, 64, 1]);
  const weight = backend.upload(packed("mxfp4", { values, scales }, [2, 64, 32]));
  assertEquals(backend.memory.liveBytes, 2 * 64 * 17);
  weight[Symbol.dispose]();
  weight[Symbol.dispose]();
  assertEquals(backend.memory.liveBytes, 0);
});
