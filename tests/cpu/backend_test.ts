import { assertEquals, assertRejects } from "@std/assert";
import {
  type BackendTensor,
  BackendUnavailableError,
  convert,
  type DenseInputs,
  experts,
  Generator,
  openBackend,
  type Tensor,
  tensor,
} from "../../mod.ts";
import { expertsInputs, Fixture, jobNames } from "../fixtures.ts";
import { mapInputs } from "../../src/contract/experts_inputs.ts";
import { findBlas } from "../../src/cpu/blas.ts";
import { testBackend } from "../backend_suite.ts";
import { randomInputs } from "../random_inputs.ts";

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

/** Part of some inputs: `count` tokens from `first` on. */
function someTokens(inputs: DenseInputs, first: number, count: number): DenseInputs {
  const rows = ({ dtype, data, shape: [, width] }: Tensor): Tensor => ({
    dtype,
    data: data.slice(first * width!, (first + count) * width!),
    shape: [count, width!],
  });
  const { hiddenStates, routerIndices, routingWeights } = inputs;
  return {
    ...inputs,
    hiddenStates: rows(hiddenStates),
    routerIndices: rows(routerIndices),
    routingWeights: rows(routingWeights),
  };
}

// In the whole batch, an expert has enough rows to pack its weights. Parts with 1 to 15 rows use different kernels for
// different numbers of rows. Some sums need more than one pass.
for (const weightLayout of ["in-out", "out-in"] as const) {
  for (
    const [dtype, gateUpLayout] of [["f16", "interleaved"], ["bf16", "concatenated"], ["f32", "interleaved"]] as const
  ) {
    Deno.test(`cpu: with batchInvariant, a token's bits do not depend on the other tokens: ${dtype}, ${weightLayout}`, async () => {
      using backend = await openBackend("cpu", { threads: 2 });
      const inputs = randomInputs({ T: 64, H: 803, I: 404, E: 2, K: 2 }, 9, { dtype, weightLayout });
      const options = { backend, batchInvariant: true, weightLayout, gateUpLayout };
      const whole = await experts(inputs, options);
      const parts = [[0, 1], [1, 2], [3, 3], [6, 4], [10, 5], [15, 6], [21, 7], [28, 12], [40, 24]] as const;
      for (const [first, count] of parts) {
        const part = await experts(someTokens(inputs, first, count), options);
        assertEquals(
          part.data,
          whole.data.slice(first * 803, (first + count) * 803),
          `tokens ${first} to ${first + count}`,
        );
      }
    });
  }
}

Deno.test("cpu: products have the same bits for any number of threads, and the bits of a row do not depend on other rows", async () => {
  const random = new Generator(4);
  const half = (shape: number[]) => convert(random.randn(shape), "f16");
  const [a, weight, b] = [half([1, 300, 777]), random.randn([83, 777]), half([1, 777, 83])];
  const rows = ({ dtype, data, shape: [, , depth] }: Tensor, first: number, count: number): Tensor => ({
    dtype,
    shape: [count, depth!],
    data: data.slice(first * depth!, (first + count) * depth!),
  });
  const results = [];
  for (const [threads, first, count] of [[1, 0, 300], [2, 0, 300], [3, 17, 101], [2, 299, 1]] as const) {
    using backend = await openBackend("cpu", { threads });
    const part = rows(a, first, count);
    const x = backend.upload(part), batch = backend.upload({ ...part, shape: [1, ...part.shape] });
    const linear = await backend.download(await backend.ops.linear(x, backend.upload(weight), { dtype: "f32" }));
    const product = await backend.download(await backend.ops.batchedMatmul(batch, backend.upload(b)));
    results.push({ first, count, linear, product });
  }
  const [whole] = results;
  for (const { first, count, linear, product } of results) {
    assertEquals(linear.data, whole!.linear.data.slice(first * 83, (first + count) * 83));
    assertEquals(product.data, whole!.product.data.slice(first * 83, (first + count) * 83));
  }
});

Deno.test("cpu: a product of depth zero is the bias", async () => {
  using backend = await openBackend("cpu", { threads: 1 });
  const upload = (shape: number[], ...values: number[]) => backend.upload(tensor(Float32Array.from(values), shape));
  const dirty = await backend.ops.linear(upload([2, 1], 7, 7), upload([3, 1], 1, 2, 3));
  assertEquals([...(await backend.download(dirty)).data], [7, 14, 21, 7, 14, 21]);
  const output = await backend.ops.linear(upload([2, 0]), upload([3, 0]), { bias: upload([3], 4, 5, 6) });
  assertEquals([...(await backend.download(output)).data], [4, 5, 6, 4, 5, 6]);
});

Deno.test("cpu: upload() uses shared memory without a copy, and copies other memory", async () => {
  using backend = await openBackend("cpu", { threads: 1 });
  const inputs = randomInputs({ T: 10, H: 16, I: 16, E: 2, K: 1 }, 2);
  const weights = shared(inputs.gateUpProj);
  using _weights = backend.upload(weights);
  await backend.read(_weights, (piece) => assertEquals(piece.buffer, weights.data.buffer));
  const output = await experts({ ...inputs, gateUpProj: weights }, { backend });
  assertEquals(output.data, (await experts(inputs, { backend })).data);
});

Deno.test({
  name: "cpu: the backend uses and names a BLAS that was found, but not with batchInvariant",
  ignore: !blas,
  fn: async () => {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", new URL("blas_program.ts", import.meta.url).pathname],
      // OpenBLAS for newer processors can add in the order of the kernels.
      env: { OPENBLAS_CORETYPE: "Haswell", NO_COLOR: "1" },
    }).output();
    assertEquals(code, 0, new TextDecoder().decode(stderr));
    const engines = [blas!.name, "WebAssembly"];
    assertEquals(JSON.parse(new TextDecoder().decode(stdout)), { engines, same: false, sameIfInvariant: true });
  },
});

Deno.test("cpu: openBackend() refuses a BLAS that cannot be used, with the reason", async () => {
  const open = (blas: string) => openBackend("cpu", { threads: 1, blas });
  await assertRejects(() => open("/no/such/library.so"), BackendUnavailableError, 'library "/no/such/library.so"');
  if (Deno.build.os !== "linux") return;
  await assertRejects(() => open("libm.so.6"), BackendUnavailableError, "it has no cblas_sgemm");
});

Deno.test("cpu: recycled memory does not affect a result, and a result in use does not change", async () => {
  const inputs = randomInputs({ T: 1100, H: 512, I: 16, E: 2, K: 1 }, 6); // outputs of more than 1 MiB
  const fresh = async () => {
    using backend = await openBackend("cpu", { threads: 2, blas: "none" });
    return (await experts(inputs, { backend, expertCapacity: 1 })).data;
  };
  using backend = await openBackend("cpu", { threads: 2, blas: "none" });
  using scope = new DisposableStack();
  const device = mapInputs(inputs, (host) => scope.use(backend.upload(host)));
  const full = await backend.experts(device);
  const before = (await backend.download(full)).data;
  full[Symbol.dispose]();
  full[Symbol.dispose](); // returns its memory only once
  using one = await backend.experts(device);
  using other = await backend.experts(device, { expertCapacity: 1 });
  one[Symbol.dispose]();
  using dropped = await backend.experts(device, { expertCapacity: 1 });
  assertEquals((await backend.download(other)).data, await fresh());
  assertEquals((await backend.download(dropped)).data, await fresh());
  using again = await backend.experts(device);
  assertEquals((await backend.download(again)).data, before);
});

Deno.test("cpu: a product whose packed rows exceed a worker's memory is computed in smaller blocks", async () => {
  using backend = await openBackend("cpu", { threads: 1, blas: "none" });
  const [rows, depth] = [1100, 1_000_000];
  const a = backend.allocate("f16", [1, rows, depth]); // zeros, which take no memory as long as they are only read
  const b = backend.allocate("f16", [1, depth, 8]);
  await backend.fill(b, (piece) => void piece.fill(1));
  await backend.fill(a, (piece) => {
    for (const row of [0, 1, 700, 1099]) piece[row * depth + row] = row + 1; // touches few pages
  });
  const { data } = await backend.download(await backend.ops.batchedMatmul(a, b));
  for (const [i, sum] of data.entries()) {
    const row = i >> 3;
    assertEquals(sum, [0, 1, 700, 1099].includes(row) ? row + 1 : 0);
  }
});

Deno.test("cpu: a depth that is too large is refused, and the backend stays usable", async () => {
  using backend = await openBackend("cpu", { threads: 1, blas: "none" });
  const [input, weight] = [1, 2].map((rows) => backend.allocate("f16", [rows, 2 ** 25 + 1])) as [
    BackendTensor,
    BackendTensor,
  ];
  const message = "The depth of a product must be at most 33554432 on the CPU, got 33554433";
  await assertRejects(() => backend.ops.linear(input, weight), RangeError, message);
  const one = backend.upload(tensor(Float32Array.of(3), [1, 1]));
  assertEquals([...(await backend.download(await backend.ops.linear(one, one))).data], [9]);
});
