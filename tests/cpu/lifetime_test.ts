// Disposal, failure and callbacks while calls run.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  type Backend,
  type BackendTensor,
  convert,
  type DenseInputs,
  type DType,
  Generator,
  openBackend,
  tensor,
  zeros,
} from "../../mod.ts";
import { mapInputs } from "../../src/contract/experts_inputs.ts";
import { CpuBackend } from "../../src/cpu/backend.ts";
import { randomInputs } from "../random_inputs.ts";

// The outputs have 4 MiB, so that their memory is recycled.
const [tokens, hidden, intermediate] = [65, 32768, 8] as const;

function half(random: Generator, ...shape: number[]) {
  return convert(random.randn(shape), "f16");
}

function layerInputs(backend: Backend): Omit<DenseInputs<BackendTensor>, "hiddenStates"> {
  const random = new Generator(0);
  return {
    routerIndices: backend.upload(zeros("i32", [tokens, 1])),
    routingWeights: backend.upload(tensor(new Float16Array(tokens).fill(1), [tokens, 1])),
    gateUpProj: backend.upload(half(random, 1, hidden, 2 * intermediate)),
    downProj: backend.upload(half(random, 1, intermediate, hidden)),
  };
}

/** Compares large arrays. A failed `assertEquals` of them would need all memory for its message. */
function assertSameBytes(actual: Uint8Array, expected: Uint8Array, message?: string): void {
  assertEquals(actual.length, expected.length, message);
  const first = actual.findIndex((byte, i) => byte !== expected[i]);
  assert(first < 0, `${message ?? "outputs"}: the bytes differ from byte ${first} on`);
}

async function bytesOf(backend: Backend, output: BackendTensor): Promise<Uint8Array> {
  const { data } = await backend.download(output);
  output[Symbol.dispose]();
  return new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
}

Deno.test("cpu: inputs that are disposed while a call runs keep their memory until the call ends", async () => {
  using backend = await openBackend("cpu", { threads: 4, blas: "none" });
  const weights = layerInputs(backend);
  const x0 = backend.upload(half(new Generator(1), tokens, hidden));
  const tiny = backend.upload(convert(tensor(new Float32Array(tokens * hidden).fill(0.01), [tokens, hidden]), "f16"));
  const before = backend.memory.liveBytes;

  /** x + experts(x). Without `await`, `addend` is disposed while the last call runs. */
  const block = async (x: BackendTensor, isAwaited: boolean) => {
    using _free = await backend.experts({ ...weights, hiddenStates: x });
    using addend = await backend.experts({ ...weights, hiddenStates: x });
    const output = backend.experts({ ...weights, hiddenStates: x, addend });
    return isAwaited ? await output : output;
  };
  const expected = [await bytesOf(backend, await block(x0, true)), await bytesOf(backend, await block(tiny, true))];
  for (let i = 0; i < 8; i++) {
    const outputs = await Promise.all([block(x0, false), block(tiny, false)]);
    for (const [k, output] of outputs.entries()) {
      assertSameBytes(await bytesOf(backend, output), expected[k]!, `output ${k} of round ${i}`);
    }
  }
  assertEquals(backend.memory.liveBytes, before);
});

Deno.test("cpu: moe() and the ops work when their inputs are disposed as soon as they have begun", async () => {
  using backend = await openBackend("cpu", { threads: 2 });
  const random = new Generator(3);
  const shapes = { x: [40, 64], router: [4, 64], gateUpProj: [4, 64, 96], downProj: [4, 48, 64] } as const;
  const host = Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [name, random.randn([...shape])]),
  ) as Record<keyof typeof shapes, ReturnType<Generator["randn"]>>;
  const run = async (disposeEarly: boolean) => {
    using scope = new DisposableStack();
    const upload = (name: keyof typeof shapes) => scope.use(backend.upload(host[name]));
    const [x, router, gateUpProj, downProj] = (Object.keys(shapes) as (keyof typeof shapes)[]).map(upload);
    const layer = {
      router: { weight: router!, options: { kind: "softmax", topK: 2 } },
      sharedExpert: { gateUpProj: gateUpProj!, downProj: downProj! },
      gateUpProj: gateUpProj!,
      downProj: downProj!,
    } as const;
    const shared = scope.use(
      backend.upload({ ...host.gateUpProj, data: host.gateUpProj.data.slice(0, 64 * 96), shape: [1, 64, 96] }),
    );
    const down = scope.use(
      backend.upload({ ...host.downProj, data: host.downProj.data.slice(0, 48 * 64), shape: [1, 48, 64] }),
    );
    const running = [
      backend.moe(x!, { ...layer, sharedExpert: { gateUpProj: shared, downProj: down } }),
      backend.ops.linear(x!, router!),
      backend.ops.indexSelect(x!, scope.use(backend.upload(tensor(Int32Array.of(3, 1), [2])))),
    ];
    if (disposeEarly) scope.dispose();
    const outputs = await Promise.all(running);
    return await Promise.all(outputs.map((output) => bytesOf(backend, output)));
  };
  const before = backend.memory.liveBytes;
  assertEquals(await run(true), await run(false));
  assertEquals(backend.memory.liveBytes, before);
});

Deno.test("cpu: callbacks of fill() and read() can dispose the tensor, transfer, and upload the piece", async () => {
  using backend = new CpuBackend({ threads: 1, blas: "none" });
  const inputs = randomInputs({ T: 1100, H: 512, I: 16, E: 1, K: 1 }, 6); // outputs of more than 1 MiB
  using scope = new DisposableStack();
  const device = mapInputs(inputs, (host) => scope.use(backend.upload(host)));
  const before = backend.memory.liveBytes;
  const output = await backend.experts(device);
  const expected = (await backend.download(output)).data;
  using other = backend.allocate("f16", [4]);
  let alias: BackendTensor | undefined;
  await backend.read(output, async (piece) => {
    alias = backend.upload({ dtype: "f16", shape: output.shape, data: piece });
    output[Symbol.dispose]();
    using again = await backend.experts(device, { expertCapacity: 1 }); // would take the memory of `output`
    assertEquals((await backend.download(again)).shape, [1100, 512]);
    await backend.fill(other, (piece) => void piece.fill(2));
    assertEquals(piece, expected);
  });
  using _next = await backend.experts(device, { expertCapacity: 1 });
  assertEquals((await backend.download(alias!)).data, expected);
  alias![Symbol.dispose]();

  const filled = backend.allocate("f16", [4]);
  await assertRejects(
    () =>
      backend.fill(filled, async () => {
        filled[Symbol.dispose]();
        assertEquals([...(await backend.download(other)).data], [2, 2, 2, 2]);
        throw new Error("from the callback");
      }),
    Error,
    "from the callback",
  );
  _next[Symbol.dispose]();
  other[Symbol.dispose]();
  assertEquals(backend.memory.liveBytes, before);
});

Deno.test("cpu: a call that fails leaves no live bytes", async () => {
  using backend = await openBackend("cpu", { threads: 1, blas: "none" });
  using foreign = await openBackend("cpu", { threads: 1, blas: "none" });
  const make = (shape: number[], dtype: DType = "f16") => backend.upload(zeros(dtype, shape));
  const inputs = {
    hiddenStates: make([64, 16384]),
    routerIndices: make([64, 1], "i32"),
    routingWeights: make([64, 1]),
    gateUpProj: make([1, 16384, 2]),
    downProj: make([1, 1, 16384]),
  };
  const before = backend.memory.liveBytes;
  const other = foreign.upload(zeros("f16", [1, 1, 16384]));
  const disposed = backend.upload(zeros("f16", [1, 1, 16384]));
  disposed[Symbol.dispose]();
  for (const downProj of [other, disposed]) {
    await assertRejects(() => backend.experts({ ...inputs, downProj }), TypeError, "Cannot use a tensor");
  }
  const weight = foreign.upload(zeros("f16", [4, 16384]));
  await assertRejects(() => backend.ops.linear(inputs.hiddenStates, weight), TypeError, "another backend");
  await assertRejects(
    () => backend.ops.sort(inputs.routerIndices as BackendTensor, 2),
    RangeError,
    "values must have shape",
  );
  await assertRejects(
    () => backend.experts(inputs, { onProgress: 1 as never }),
    Error,
  );
  assertEquals(backend.memory.liveBytes, before);
});

Deno.test("cpu: an onProgress that throws rejects the call, and the backend stays usable", async () => {
  using backend = await openBackend("cpu", { threads: 2, blas: "none" });
  const random = new Generator(0);
  const [T, H, I] = [512, 1024, 2048];
  const inputs = {
    hiddenStates: backend.upload(half(random, T, H)),
    routerIndices: backend.upload(zeros("i32", [T, 1])),
    routingWeights: backend.upload(half(random, T, 1)),
    gateUpProj: backend.upload(half(random, 1, H, 2 * I)),
    downProj: backend.upload(half(random, 1, I, H)),
  };
  const expected = await bytesOf(backend, await backend.experts(inputs));
  const before = backend.memory.liveBytes;
  const onProgress = () => {
    throw new Error("from the callback");
  };
  // A call that is faster than the first report resolves.
  let rejected = 0;
  for (let i = 0; i < 5 && rejected < 2; i++) {
    const calls = Array.from({ length: 4 }, () => backend.experts(inputs, { onProgress }));
    for (const result of await Promise.allSettled(calls)) {
      if (result.status === "fulfilled") result.value[Symbol.dispose]();
      else {
        assertEquals((result.reason as Error).message, "from the callback");
        rejected += 1;
      }
    }
  }
  assert(rejected > 0, "no call was reported on");
  assertEquals(backend.memory.liveBytes, before);
  assertSameBytes(await bytesOf(backend, await backend.experts(inputs)), expected);
});

Deno.test("cpu: a disposed backend refuses everything", async () => {
  const backend = await openBackend("cpu", { threads: 1 });
  const x = backend.upload(zeros("f32", [2, 2]));
  const index = backend.upload(zeros("i32", [2]));
  backend[Symbol.dispose]();
  backend[Symbol.dispose]();
  const message = "Cannot use a backend that is disposed";
  assertThrows(() => backend.upload(zeros("f32", [1])), TypeError, message);
  assertThrows(() => backend.allocate("f32", [1]), TypeError, message);
  const calls: Record<string, () => Promise<unknown>> = {
    download: () => backend.download(x),
    fill: () => backend.fill(x, () => {}),
    read: () => backend.read(x, () => {}),
    full: () => backend.ops.full("f32", [2], 1),
    linear: () => backend.ops.linear(x, x),
    indexSelect: () => backend.ops.indexSelect(x, index),
    peakRates: () => backend.peakRates("f32"),
    measure: () => backend.measure(async () => {}),
    synchronize: () => backend.synchronize(),
  };
  for (const [name, call] of Object.entries(calls)) await assertRejects(call, TypeError, message, name);
  x[Symbol.dispose]();
  x[Symbol.dispose]();
});

Deno.test("cpu: a call that runs when its backend is disposed is rejected", async () => {
  const backend = await openBackend("cpu", { threads: 1, blas: "none" });
  const inputs = mapInputs(randomInputs({ T: 64, H: 256, I: 256, E: 2, K: 1 }, 1), (host) => backend.upload(host));
  const running = backend.experts(inputs);
  backend[Symbol.dispose]();
  await assertRejects(() => running, Error, "closed before the call ended");
});
