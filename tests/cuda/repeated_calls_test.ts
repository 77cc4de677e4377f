// What repeated calls reuse: resolved calls, plans and graphs.
import { assert, assertEquals, assertThrows } from "@std/assert";
import type { ExpertsOptions } from "../../mod.ts";
import { Repeated } from "../../src/contract/repeated.ts";
import { resolveExperts } from "../../src/contract/resolve_experts.ts";
import { GraphCache } from "../../src/cuda/driver/graph_cache.ts";
import type { Graph } from "../../src/cuda/driver/stream.ts";
import { PlanCache } from "../../src/cuda/plan_cache.ts";
import type { PreparedPlan } from "../../src/cuda/prepared_plan.ts";

function inputsOf(tokens: number, dtype: "f16" | "bf16" = "f16") {
  const spec = (...shape: number[]) => ({ dtype, shape });
  return {
    hiddenStates: spec(tokens, 16),
    routerIndices: { dtype: "i32" as const, shape: [tokens, 2] },
    routingWeights: spec(tokens, 2),
    gateUpProj: spec(4, 16, 16),
    downProj: spec(4, 8, 16),
  };
}

Deno.test("an equal call is resolved to the same object, and every difference to another", () => {
  const repeated = new Repeated(resolveExperts);
  const first = repeated.resolve(inputsOf(3), {});
  assertEquals(first, resolveExperts(inputsOf(3)));
  assert(repeated.resolve(inputsOf(3), {}) === first);
  const others: [ReturnType<typeof inputsOf>, ExpertsOptions][] = [
    [inputsOf(4), {}],
    [inputsOf(3, "bf16"), {}],
    [inputsOf(3), { expertCapacity: 1 }],
    [inputsOf(3), { batchInvariant: true }],
  ];
  for (const [inputs, options] of others) {
    for (let i = 0; i < 2; i++) assertEquals(repeated.resolve(inputs, options), resolveExperts(inputs, options));
  }
  assert(repeated.resolve(inputsOf(3), {}) === first);
});

Deno.test("a call with an unknown name or a wrong shape is refused after an equal call without it", () => {
  const repeated = new Repeated(resolveExperts);
  repeated.resolve(inputsOf(3), { expertCapacity: 2 });
  const wrong = (inputs: object, options: object) => () =>
    repeated.resolve(inputs as ReturnType<typeof inputsOf>, options);
  for (let i = 0; i < 2; i++) {
    assertThrows(wrong(inputsOf(3), { expertCapacty: 2 }), TypeError, 'did you mean "expertCapacity"?');
    assertThrows(wrong({ ...inputsOf(3), bias: 1 }, { expertCapacity: 2 }), TypeError, '"bias"');
    assertThrows(wrong({ ...inputsOf(3), downProj: inputsOf(3).gateUpProj }, { expertCapacity: 2 }), RangeError);
    assertThrows(wrong(Object.create(inputsOf(3)), { expertCapacity: 0 }), RangeError);
  }
});

Deno.test("a plan is found by the identity of a call or by its sizes", () => {
  let planned = 0;
  const plans = new PlanCache(() => ({ number: planned++ }) as unknown as PreparedPlan);
  const shape = resolveExperts(inputsOf(3));
  const plan = plans.get(shape);
  assert(plans.get(shape) === plan && plans.get({ ...shape }) === plan);
  assert(plans.get(resolveExperts(inputsOf(4))) !== plan);
  assertEquals(planned, 2);
});

Deno.test("a graph is launched only for the same plan and pointers, and destroyed when it is evicted", () => {
  const log: string[] = [];
  using cache = new GraphCache();
  const run = (name: string, plan: object, addresses: readonly (bigint | null)[]) => {
    const graph = { launch: () => log.push(`${name} graph`), [Symbol.dispose]: () => log.push(`${name} destroyed`) };
    cache.run(plan, addresses, () => log.push(`${name} direct`), () => graph as unknown as Graph);
  };
  const [a, b] = [{}, {}];
  for (let i = 0; i < 3; i++) run("first", a, [1n, null, 2n]);
  assertEquals(log.splice(0), ["first direct", "first graph", "first graph"]);
  run("other plan", b, [1n, null, 2n]);
  run("other pointer", a, [1n, 2n, 2n]);
  run("more pointers", a, [1n, null, 2n, 3n]);
  assertEquals(log.splice(0), ["other plan direct", "other pointer direct", "more pointers direct"]);
  run("first", a, [1n, null, 2n]);
  for (let i = 0; i < 128; i++) run("filler", a, [100n + BigInt(i)]);
  assertEquals(log.filter((line) => !line.startsWith("filler")), ["first graph", "first destroyed"]);
});
