// Values of wrong types and out of range, as programs without a type checker pass them.
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  type Backend,
  denseWeights,
  Generator,
  keptAssignments,
  moe,
  type MoeOptions,
  openBackend,
  type OpenBackendOptions,
  packed,
  type PackedOptions,
  route,
  type RouterOptions,
  tensor,
  type TensorData,
} from "../mod.ts";

const random = new Generator(0);

Deno.test("tensor() names the argument if there is no data", () => {
  for (const data of [null, undefined]) {
    const message = `data must be a Float16Array, Float32Array, Int32Array or Uint8Array, got ${data}`;
    assertThrows(() => tensor(data as unknown as TensorData), TypeError, message);
  }
});

Deno.test("a bigint is shown as one", () => {
  assertThrows(() => route(random.randn([1, 4]), { topK: 2n as unknown as number }), RangeError, "got 2n");
});

Deno.test("keptAssignments() rejects counts that are not numbers of tokens", () => {
  for (const [counts, got] of [[null, "null"], [3, "3"], [{}, "Object"]] as const) {
    assertThrows(
      () => keptAssignments(counts as unknown as number[], 2),
      TypeError,
      `counts must be an iterable of numbers, got ${got}`,
    );
  }
  for (
    const [count, got] of [[NaN, "NaN"], [-1, "-1"], [1.5, "1.5"], [1n, "1n"], ["1", '"1"'], [undefined, "undefined"]]
  ) {
    assertThrows(
      () => keptAssignments([4, count as number], 2),
      RangeError,
      `counts must hold non-negative integers, got ${got}`,
    );
  }
  assertEquals(keptAssignments(new Int32Array([3, 0, 1]), 2), 3);
});

Deno.test("denseWeights() rejects a number of experts that is none", () => {
  const routing = route(random.randn([2, 4]), 1);
  for (const [experts, got] of [[NaN, "NaN"], [-1, "-1"], [4n, "4n"], [undefined, "undefined"]] as const) {
    const message = `experts must be a non-negative integer, got ${got}`;
    assertThrows(() => denseWeights(routing, experts as unknown as number), RangeError, message);
  }
});

Deno.test("route() rejects a kind that is not text", () => {
  for (const [kind, got] of [[Object.create(null), "an object"], [["softmax"], "Array"], [Symbol("a"), "Symbol(a)"]]) {
    const options = { kind, topK: 1 } as RouterOptions;
    const error = assertThrows(() => route(random.randn([1, 4]), options), RangeError, "kind must be one of softmax,");
    assertEquals(error.message.split("got ")[1], got);
  }
});

Deno.test("packed() takes true or false for signed", () => {
  const parts = { values: tensor(new Uint8Array(16), [1, 1, 16]), scales: tensor(new Float32Array(1), [1, 1, 1]) };
  for (const [signed, got] of [["false", '"false"'], [0, "0"], [null, "null"]] as const) {
    const options = { signed } as unknown as PackedOptions;
    assertThrows(
      () => packed("int4", parts, [1, 1, 32], options),
      TypeError,
      `signed must be true or false, got ${got}`,
    );
  }
});

const wrongOptions: Readonly<Record<string, readonly (readonly [value: unknown, message: string])[]>> = {
  threads: [[0, "threads must be an integer from 1 to 1024, got 0"], [null, "threads must be an integer from 1"]],
  device: [[NaN, "device must be an integer of at least 0, got NaN"], [
    "0",
    'device must be an integer of at least 0, got "0"',
  ]],
  blas: [[Symbol("a"), "blas must be a string, got Symbol(a)"], [null, "blas must be a string, got null"]],
  onFallback: [[true, "onFallback must be a function, got true"], [null, "onFallback must be a function, got null"]],
};

for (const [name, cases] of Object.entries(wrongOptions)) {
  Deno.test(`openBackend() checks ${name} for every backend`, async () => {
    for (const backend of ["auto", "cpu", "cuda"] as const) {
      for (const [value, message] of cases) {
        const options = { [name]: value } as OpenBackendOptions;
        const error = await assertRejects(() => openBackend(backend, options), Error, message);
        assertEquals(error instanceof (name === "blas" || name === "onFallback" ? TypeError : RangeError), true);
      }
    }
  });
}

async function withBackend(run: (backend: Backend) => Promise<void>) {
  using backend = await openBackend("cpu", { threads: 1 });
  await run(backend);
}

Deno.test("moe() rejects a capacity of null, as experts() does", () =>
  withBackend(async (backend) => {
    const layer = {
      router: { weight: random.randn([4, 16]), options: { kind: "softmax", topK: 2 } },
      gateUpProj: random.randn([4, 16, 64]),
      downProj: random.randn([4, 32, 16]),
    } as const;
    const options = { backend, expertCapacity: null } as unknown as MoeOptions;
    await assertRejects(
      () => moe(random.randn([3, 16]), layer, options),
      RangeError,
      "expertCapacity must be an integer of at least 1, or undefined, got null",
    );
  }));

Deno.test("the op route rejects options that are not an object", () =>
  withBackend(async (backend) => {
    using logits = backend.upload(random.randn([2, 4]));
    await assertRejects(
      () => backend.ops.route(logits, { topK: 1 }, null as unknown as undefined),
      TypeError,
      "options must be an object, got null",
    );
  }));

Deno.test("sort() and bincountCumsum() name the allocation that fails", () =>
  withBackend(async (backend) => {
    using values = backend.upload(tensor(new Int32Array([1])));
    const message = `Cannot allocate [${2 ** 45}] of i32: out of memory`;
    await assertRejects(() => backend.ops.sort(values, 2 ** 45), RangeError, message);
    await assertRejects(() => backend.ops.bincountCumsum(values, 2 ** 45), RangeError, message);
  }));
