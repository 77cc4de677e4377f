import { assertEquals, assertThrows } from "@std/assert";
import type { TensorSpec } from "../../src/contract/checks.ts";
import type { ExpertsInputs } from "../../src/contract/experts.ts";
import { resolveExperts } from "../../src/contract/resolve_experts.ts";
import { withUploadedFormats } from "../../src/cuda/uploaded_formats.ts";
import { digestCall, type Part, planExchange, readTable, shareOf } from "../../src/parallel/exchange_plan.ts";
import type { Mxfp4Format, PackedSpec } from "../../src/tensor/packed_tensor.ts";
import type { DType } from "../../src/tensor/tensor.ts";

/** A small generator of integers below a limit. */
function integers(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = Math.imul(state ^ state >>> 15, 0x2c1b3c6d) + 0x6d2b79f5 | 0;
    return (state >>> 8) % limit;
  };
}

function offsetsOf(counts: readonly number[]): Int32Array {
  const offsets = new Int32Array(counts.length + 1);
  counts.forEach((count, e) => offsets[e + 1] = (offsets[e] ?? 0) + count);
  return offsets;
}

Deno.test("the shares of the ranks cover everything once, in order", () => {
  for (const [total, ranks] of [[32, 2], [33, 4], [3, 8], [0, 3], [128, 5]] as const) {
    let next = 0;
    for (let rank = 0; rank < ranks; rank++) {
      const { start, end } = shareOf(total, ranks, rank);
      assertEquals(start, next);
      next = end;
    }
    assertEquals(next, total);
  }
});

Deno.test("every row arrives once, the kept ones are computed in the order of one GPU, and they return to their places", () => {
  const random = integers(1);
  for (let round = 0; round < 300; round++) {
    const ranks = 1 + random(6), experts = 1 + random(12), limit = [1, 2, 5, 40][random(4)] ?? 1;
    const capacity = round % 4 === 0 ? 1 + random(20) : Infinity;
    const busy = random(experts + 1); // sometimes one rank gets everything, or nobody gets anything
    const counts = Array.from(
      { length: ranks },
      () => Array.from({ length: experts }, (_, e) => round % 3 === 0 && e !== busy ? 0 : random(limit)),
    );
    // The sorted rows of each rank are (expert, rank, number).
    const rowsOf = (count: number, e: number, rank: number) =>
      Array.from({ length: count }, (_, i) => `${e} ${rank} ${i}`);
    const sorted = counts.map((row, rank) => row.flatMap((count, e) => rowsOf(Math.min(count, capacity), e, rank)));
    const offsets = counts.map((row) => offsetsOf(row.map((count) => Math.min(count, capacity))));
    const plans = offsets.map((_, rank) => planExchange(offsets, rank, { capacity }));
    const oneGpu = (e: number) => counts.flatMap((row, rank) => rowsOf(row[e] ?? 0, e, rank)).slice(0, capacity);

    const returned = sorted.map((rows) => Array<string>(rows.length));
    plans.forEach(({ others, order, computed }, target) => {
      const received = Array<string>(order.length);
      others.forEach((part, source) => move(sorted[source], plans[source]?.own[target], received, part));
      const { start, end } = shareOf(experts, ranks, target);
      const expected = Array.from({ length: end - start }, (_, e) => oneGpu(start + e)).flat();
      assertEquals(computed, expected.length);
      const packed = Array.from(
        order,
        (row, i) => row < 0 ? "dropped" : received[i] === expected[row] ? received[i] : "wrong",
      );
      assertEquals(packed.filter((row) => row !== "dropped").toSorted(), expected.toSorted());
      others.forEach((part, source) => move(packed, part, returned[source], plans[source]?.own[target]));
    });
    const kept = new Set(Array.from({ length: experts }, (_, e) => oneGpu(e)).flat());
    assertEquals(returned, sorted.map((rows) => rows.map((row) => kept.has(row) ? row : "dropped")));
  }
});

Deno.test("without its own rows, a rank of two computes those of the other one in the order in which they arrive", () => {
  const offsets = [offsetsOf([3, 0, 2, 5]), offsetsOf([1, 4, 2, 0])];
  const { own, others, order, computed } = planExchange(offsets, 0, { own: false });
  assertEquals(own, [{ start: 0, rows: 3 }, { start: 3, rows: 7 }]);
  assertEquals(others, [{ start: 0, rows: 0 }, { start: 0, rows: 5 }]);
  assertEquals([[...order], computed], [[0, 1, 2, 3, 4], 5]);
});

/** Copies a part of a list to a part of another one. */
function move(
  from: readonly (string | undefined)[] = [],
  send: Part | undefined,
  to: string[] = [],
  receive: Part | undefined,
): void {
  assertEquals(send?.rows, receive?.rows);
  for (let i = 0; i < (send?.rows ?? 0); i++) to[(receive?.start ?? 0) + i] = from[(send?.start ?? 0) + i] ?? "";
}

Deno.test("a rank whose call differs is named", () => {
  const row = (digest: number) => [digest, 5, 0, 2, 4];
  const call = resolveExperts(callOf({}), { weightLayout: "out-in" });
  const same = digestCall(call), other = digestCall({ ...call, capacity: 7 });
  const { offsets, tokens } = readTable(Int32Array.from([row(same), row(same)].flat()), 2, 0);
  assertEquals([offsets.map((o) => [...o]), tokens], [[[0, 2, 4], [0, 2, 4]], [5, 5]]);
  assertThrows(
    () => readTable(Int32Array.from([row(same), row(same), row(other)].flat()), 3, 1),
    RangeError,
    "the sizes or options of rank 2 differ from those of rank 1",
  );
});

/** A call with packed weights. */
function callOf(details: Partial<Mxfp4Format>): ExpertsInputs<TensorSpec, PackedSpec> {
  const format: Mxfp4Format = { kind: "mxfp4", exactInF16: true, ...details };
  const spec = (dtype: DType, ...shape: number[]) => ({ dtype, shape });
  return {
    ...{ hiddenStates: spec("bf16", 5, 32), routerIndices: spec("i32", 5, 1), routingWeights: spec("bf16", 5, 1) },
    ...{ gateUpProj: { format, shape: [2, 64, 32] }, downProj: { format, shape: [2, 32, 32] } },
  };
}

Deno.test("ranks make the same call even if their weights have other numbers and scales, or they have other numbers of tokens", () => {
  const [narrow, wide] = [{}, { hasWideScales: true, exactInF16: false } as const].map((details) =>
    resolveExperts(callOf(details), { weightLayout: "out-in" })
  );
  assertEquals(digestCall({ ...wide!, tokens: 3 }), digestCall(narrow!));
});

Deno.test("a rank plans with the formats of the weights that it has uploaded", () => {
  const narrow = resolveExperts(callOf({}), { weightLayout: "out-in" });
  const { gateUpProj, downProj } = callOf({ hasWideScales: true });
  const parts = { values: {}, scales: {} };
  const uploaded = { gateUpProj: { ...gateUpProj, parts }, downProj: { ...downProj, parts } } as never;
  assertEquals(withUploadedFormats(narrow, uploaded).formats.downProj, downProj.format);
});
