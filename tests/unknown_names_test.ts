// Every public function rejects a misspelled option, and suggests the nearest name.
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import * as yamoe from "../mod.ts";
import {
  type Backend,
  type ExpertsInputs,
  type MoeLayer,
  openBackend,
  ops,
  type Tensor,
  tensor,
  zeros,
} from "../mod.ts";
import { nearestName } from "../src/known_names.ts";

const one = (...shape: number[]) => zeros("f32", shape);
const integers = (...values: number[]) => tensor(Int32Array.from(values));

const inputs: ExpertsInputs = {
  hiddenStates: one(1, 8),
  routerIndices: zeros("i32", [1, 1]),
  routingWeights: one(1, 1),
  gateUpProj: one(1, 8, 16),
  downProj: one(1, 8, 8),
};
const layer: MoeLayer = {
  router: { weight: one(1, 8), options: { topK: 1 } },
  gateUpProj: one(1, 8, 16),
  downProj: one(1, 8, 8),
};

/** The public functions with options, called with a misspelled one: `wrong` has a member that does not exist. */
const calls: Readonly<Record<string, (wrong: Record<string, unknown>) => unknown>> = {
  openBackend: (wrong) => openBackend("cpu", wrong),
  openLayer: (wrong) => yamoe.openLayer("fixtures/layers/gpt-oss", { ...wrong } as never),
  openParallel: (wrong) => yamoe.openParallel(wrong),
  experts: (wrong) => yamoe.experts(inputs, wrong),
  moe: (wrong) => yamoe.moe(one(1, 8), layer, wrong),
  packed: (wrong) => {
    const parts = { values: tensor(new Uint8Array(16), [1, 1, 16]), scales: tensor(new Uint8Array(1), [1, 1, 1]) };
    yamoe.packed("mxfp4", parts, [1, 1, 32], wrong);
  },
  route: (wrong) => yamoe.route(one(1, 2), { topK: 1, ...wrong }),
  "ops.experts": (wrong) => ops.experts(inputs, wrong),
  "ops.sort": (wrong) => ops.sort(integers(0), 1, wrong),
  "ops.bincountCumsum": (wrong) => ops.bincountCumsum(integers(0), 1, wrong),
  "ops.indexSelect": (wrong) => ops.indexSelect(one(1, 1), integers(0), wrong),
  "ops.gather": (wrong) => ops.gather(one(1, 1), integers(0), integers(1), { capacity: 1, ...wrong }),
  "ops.scatter": (wrong) => ops.scatter(one(1, 1, 1), integers(0), integers(1), one(1, 1), wrong),
  "ops.batchedMatmul": (wrong) => ops.batchedMatmul(one(1, 1, 1), one(1, 1, 1), wrong),
};

/** Functions and classes without options. */
const withoutOptions = [
  ...["convert", "decode", "denseWeights", "encodeSafetensors", "keptAssignments", "summarize", "tensor"],
  ...["tokensPerExpert", "writeSafetensors", "zeros", "Generator", "Safetensors"],
  ...["BackendUnavailableError", "CudaError", "NcclError", "RankLostError", "SafetensorsError"],
];

Deno.test("every public function is in this test", () => {
  const functions = (values: object, prefix = "") =>
    Object.entries(values).filter(([, value]) => typeof value === "function").map(([name]) => prefix + name);
  const all = [...functions(yamoe), ...functions(ops, "ops.")];
  assertEquals(all.sort(), [...Object.keys(calls), ...withoutOptions].sort());
});

for (const [name, call] of Object.entries(calls)) {
  Deno.test(`${name}() rejects an unknown option`, async () => {
    await assertRejects(async () => await call({ zzz: 1 }), TypeError, 'Unknown member "zzz" of ');
  });
}

/** The functions of a backend with options. */
const backendCalls: Readonly<
  Record<
    string,
    (backend: Backend, wrong: Record<string, unknown>, upload: (host: Tensor) => yamoe.BackendTensor) => unknown
  >
> = {
  read: (backend, wrong, upload) => backend.read(upload(one(1)), () => {}, { start: 0, end: 1, ...wrong }),
  experts: (backend, wrong) => backend.experts(inputs as never, wrong),
  moe: (backend, wrong, upload) => backend.moe(upload(one(1, 8)), layer as never, wrong),
  "ops.linear": ({ ops }, wrong, upload) => ops.linear(upload(one(1, 1)), upload(one(1, 1)), wrong),
  "ops.route": ({ ops }, wrong, upload) => ops.route(upload(one(1, 2)), { topK: 1 }, wrong),
  "ops.gather": ({ ops }, wrong, upload) =>
    ops.gather(upload(one(1, 1)), upload(integers(0)), upload(integers(1)), { capacity: 1, ...wrong }),
};

for (const [name, call] of Object.entries(backendCalls)) {
  Deno.test(`Backend.${name}() rejects an unknown option`, async () => {
    using backend = await openBackend("cpu", { threads: 1, blas: "none" });
    using scope = new DisposableStack();
    const upload = (host: Tensor) => scope.use(backend.upload(host));
    await assertRejects(async () => await call(backend, { zzz: 1 }, upload), TypeError, 'Unknown member "zzz" of ');
  });
}

Deno.test("an unknown option is named with the nearest known one", async () => {
  await assertRejects(
    () => openBackend("cpu", { thread: 1 } as object),
    TypeError,
    'Unknown member "thread" of options: did you mean "threads"?',
  );
  assertThrows(
    () => yamoe.route(one(1, 2), { topk: 1 } as never),
    TypeError,
    'Unknown member "topk" of router: did you mean "topK"?',
  );
});

Deno.test("nearestName() suggests a name only if it is near", () => {
  const suggestions = (names: readonly string[], known: readonly string[]) =>
    names.map((name) => nearestName(name, known));
  assertEquals(suggestions(["thread", "Threads", "trheads", "theads"], ["blas", "threads"]), Array(4).fill("threads"));
  assertEquals(suggestions(["nope", "x", "", "deepseek"], ["top-k", "threads", "device"]), Array(4).fill(undefined));
  assertEquals(nearestName("v100", ["a100", "h100"]), undefined);
  assertEquals(nearestName("qwen", ["tiny", "small"]), undefined);
  assertEquals(nearestName("topKs", ["topic", "topK"]), "topK");
});
