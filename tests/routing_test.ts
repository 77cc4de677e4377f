import { assertEquals, assertThrows } from "@std/assert";
import fc from "./fast_check.ts";
import {
  convert,
  denseWeights,
  keptAssignments,
  route,
  type RouterKind,
  type RouterOptions,
  tensor,
  tokensPerExpert,
} from "../mod.ts";
import { Fixture } from "./fixtures.ts";

for (const job of ["tiny", "drop-bias", "clamp", "gpt-oss-like"]) {
  Deno.test(`route() decides as PyTorch does in the golden job ${job}`, () => {
    const fixture = new Fixture(job);
    const experts = Number(fixture.metadata.experts);
    const routing = route(fixture.f32("logits"), Number(fixture.metadata.top_k));
    assertEquals(routing.routerIndices.data, fixture.i32("router_indices").data);
    const f16 = (data: Iterable<number>) => Float16Array.from(data);
    assertEquals(f16(routing.routerWeights.data), fixture.f16("router_weights").data);
    assertEquals(f16(denseWeights(routing, experts).data), fixture.f16("routing_weights").data);
    const counts = tokensPerExpert(routing.routerIndices, experts);
    assertEquals(counts, fixture.i32("tokens_per_expert").data);
    assertEquals(keptAssignments(counts, Number(fixture.metadata.capacity)), Number(fixture.metadata.kept));
  });
}

Deno.test("route() sorts by probability, then by index", () => {
  const size = fc.integer({ min: 1, max: 12 });
  const rows = size.chain((experts) =>
    fc.tuple(
      fc.array(fc.array(fc.integer({ min: -3, max: 3 }), { minLength: experts, maxLength: experts }), { maxLength: 6 }),
      fc.integer({ min: 1, max: experts }),
    )
  );
  fc.assert(fc.property(rows, ([rows, topK]) => {
    const experts = rows[0]?.length ?? topK;
    const { routerIndices, routerWeights } = route(
      tensor(Float32Array.from(rows.flat()), [rows.length, experts]),
      topK,
    );
    for (const [t, row] of rows.entries()) {
      const order = [...row.keys()].sort((a, b) => row[b]! - row[a]! || a - b).slice(0, topK);
      assertEquals([...routerIndices.data.subarray(t * topK, (t + 1) * topK)], order);
      const sum = row.reduce((sum, logit) => sum + Math.exp(logit), 0);
      const weights = order.map((e) => Math.exp(row[e]!) / sum);
      for (const [k, weight] of weights.entries()) {
        const error = Math.abs(routerWeights.data[t * topK + k]! - weight);
        assertEquals(error <= 2 ** -23 * weight, true, `token ${t}, slot ${k}`);
      }
    }
  }));
});

Deno.test("route() refuses what it cannot route", () => {
  const logits = tensor(new Float32Array(12), [3, 4]);
  for (const topK of [0, 5, 1.5, NaN]) {
    assertThrows(() => route(logits, topK), RangeError, "topK must be an integer from 1");
  }
  for (const name of ["scale", "jitter", "epsilon"] as const) {
    const kind = name === "jitter" ? "sparse-mixer" : "softmax";
    const message = `${name} must be a finite number of f32`;
    assertThrows(() => route(logits, { kind, topK: 1, [name]: 1e300 }), RangeError, message);
  }
  assertThrows(() => route(tensor(new Float32Array(12)), 1), RangeError, "logits must be a matrix");
  assertThrows(() => route(tensor(new Int32Array(12), [3, 4]), 1), TypeError, "logits must be of dtype f16, bf16, f32");
});

Deno.test("route() refuses a correction bias that does not fit", () => {
  const logits = tensor(new Float32Array(12), [3, 4]);
  for (const [correctionBias, message] of [[null, "null"], [0, "0"], [{ dtype: "f32" }, "Object"]] as const) {
    const options = { topK: 1, correctionBias } as unknown as RouterOptions;
    assertThrows(() => route(logits, options), TypeError, `correctionBias must be a tensor, got ${message}`);
  }
  const options = { topK: 1, correctionBias: tensor(new Float32Array(3)) };
  assertThrows(() => route(logits, options), RangeError, "correctionBias must have shape [4], got [3]");
});

Deno.test("route() refuses a router that is neither a number nor options", () => {
  const logits = tensor(new Float32Array(12), [3, 4]);
  for (const router of [undefined, null, "2"]) {
    assertThrows(
      () => route(logits, router as unknown as number),
      TypeError,
      "router must be a number of experts or an object of options, got",
    );
  }
});

Deno.test("tokensPerExpert() refuses what it cannot count", () => {
  const indices = tensor(new Int32Array([0, 3]), [1, 2]);
  assertThrows(() => tokensPerExpert(indices, 3), RangeError, "from 0 to 2, got 3 at element 1");
  for (const experts of [-1, 1.5, NaN]) {
    assertThrows(() => tokensPerExpert(indices, experts), RangeError, "experts must be a non-negative integer, got");
  }
  const floats = tensor(new Float32Array(2), [1, 2]);
  assertThrows(() => tokensPerExpert(floats, 3), TypeError, "routerIndices must be of dtype i32, got f32");
});

Deno.test("denseWeights() refuses indices and weights that do not fit together", () => {
  const routerIndices = tensor(new Int32Array([0, 3]), [1, 2]);
  const routerWeights = tensor(new Float32Array(3), [1, 3]);
  assertThrows(
    () => denseWeights({ routerIndices, routerWeights }, 4),
    RangeError,
    "routerWeights must have the shape of routerIndices, [1, 2], got [1, 3]",
  );
});

Deno.test("denseWeights() reads weights of every float dtype", () => {
  const routerIndices = tensor(new Int32Array([2, 0]), [1, 2]);
  const weights = tensor(new Float32Array([0.75, 0.25]), [1, 2]);
  for (const dtype of ["f32", "f16", "bf16"] as const) {
    const dense = denseWeights({ routerIndices, routerWeights: convert(weights, dtype) }, 3);
    assertEquals(dense, tensor(new Float32Array([0.25, 0, 0.75]), [1, 3]), dtype);
  }
});

Deno.test("keptAssignments() rejects a capacity that is not a number of tokens", () => {
  for (const capacity of [-1, NaN]) {
    assertThrows(() => keptAssignments([5], capacity), RangeError, "capacity must be a number of at least 0, got");
  }
});

// "softmax-grouped" is tested with DeepSeek-V2's layers in tests/families.
type RecordedKind = Exclude<RouterKind, "softmax-grouped">;

Deno.test("route() decides as the models' own PyTorch code", () => {
  const fixture = new Fixture("routers");
  const { top_k, groups, top_groups, scale } = fixture.metadata;
  const biased = { correctionBias: fixture.f32("bias"), scale: Number(scale) };
  const options = {
    ...{ "softmax": {}, "softmax-renormalize": {}, "topk-softmax": {}, "sigmoid-input": {} },
    ...{ "sigmoid": biased, "sqrt-softplus": biased },
    "sigmoid-grouped": { ...biased, groups: Number(groups), topGroups: Number(top_groups) },
    "sparse-mixer": { topK: 2, jitter: 0.01 },
  } as const satisfies Record<RecordedKind, Partial<RouterOptions>>;
  for (const kind of Object.keys(options) as RecordedKind[]) {
    const routing = route(fixture.f32("logits"), { kind, topK: Number(top_k), ...options[kind] });
    assertEquals(routing.routerIndices.data, fixture.i32(`${kind}.indices`).data, kind);
    const expected = fixture.f32(`${kind}.weights`).data;
    for (const [i, weight] of (routing.inputWeights ?? routing.routerWeights).data.entries()) {
      // PyTorch computes in f32 and rounds each step.
      assertEquals(Math.abs(weight - expected[i]!) <= 2 ** -20 * expected[i]!, true, `${kind}, weight ${i}`);
    }
  }
});
